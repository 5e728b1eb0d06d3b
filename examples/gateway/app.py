"""The same server with the gateway inside: ``uvicorn app:app --port 8000``. Its `upstream` and `listen` are not used."""

from __future__ import annotations

import assay.gateway
from serve import app

app.add_middleware(assay.gateway.Guard, config="gateway.yaml")
