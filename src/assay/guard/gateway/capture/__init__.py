"""Inputs and outputs of the model, sampled and masked, as files that `assay monitor` and `assay baseline` read.

It never keeps what a rule hides, never makes a request wait, and never deletes what it has not written.
"""

from assay.guard.gateway.capture.draw import Draw as Draw
from assay.guard.gateway.capture.writer import Capturer as Capturer
from assay.guard.gateway.capture.writer import Figures as Figures
from assay.guard.gateway.capture.writer import check as check
from assay.guard.gateway.capture.writer import open_capture as open_capture
