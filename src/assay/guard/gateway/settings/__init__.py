"""The gateway's file as typed values. What a key means is said where it is defined; an unknown key is an error."""

from assay.guard.gateway.settings.model import Settings as Settings
from assay.guard.gateway.settings.reading import convert as convert
from assay.guard.gateway.settings.reading import load as load
from assay.guard.gateway.settings.reading import read as read
