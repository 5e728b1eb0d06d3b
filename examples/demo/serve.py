"""The demo's model server, as anybody would write it: KServe's first protocol, no authentication, no limits, no log.

It loads the model through assay, so that not even it can serve other bytes than those that were signed.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import assay
from assay.api.anchors import TrustIn
from assay.load import Loading


class Handler(BaseHTTPRequestHandler):
    """``POST /v1/models/tumour-classifier:predict`` with ``{"instances": [{"mean_radius": 17.99, …}]}``."""

    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # head and body in one packet
    model: Any
    columns: list[str]

    def do_POST(self) -> None:
        """Predict."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        rows = [[row[name] for name in self.columns] for row in body["instances"]]
        probabilities = self.model.predict_proba(rows)
        predictions = [
            {"label": int(row.argmax()), "probabilities": [round(float(value), 6) for value in row]}
            for row in probabilities
        ]
        answer = json.dumps({"predictions": predictions}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """The gateway's log has it all."""


def main(model: Path, data: Path, public: str, store: str, port: int) -> None:
    """Serve until stopped."""
    how = Loading(TrustIn((public,)), directory=store)
    Handler.model = assay.load.joblib(model / "model.joblib", target=str(model), how=how)
    with open(data / "data.csv") as file:
        Handler.columns = file.readline().strip().split(",")[:-1]
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5]))
