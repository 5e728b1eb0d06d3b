"""The same server with the gateway inside: ``uvicorn app:app --port 8000``."""

from __future__ import annotations

from serve import app

import assay.gateway

app.add_middleware(assay.gateway.Guard, config="gateway.yaml")
