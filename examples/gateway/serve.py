"""A model server as anybody would write it: no authentication, no limits, no log. ``uvicorn serve:app --port 8081``"""

from __future__ import annotations

import joblib
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel

COLUMNS = ["age", "income", "amount", "months", "children", "late"]

app = FastAPI()
model = joblib.load("model/model.joblib")


class Request(BaseModel):
    """KServe's first protocol."""

    instances: list[dict[str, float]]


@app.post("/v1/models/loans:predict")
def predict(request: Request) -> dict[str, list]:
    """One prediction for each loan."""
    rows = np.array([[row[name] for name in COLUMNS] for row in request.instances])
    answers = model.predict_proba(rows)
    return {"predictions": [{"label": int(row.argmax()), "probabilities": row.tolist()} for row in answers]}


@app.get("/debug/config")
def debug() -> dict[str, str]:
    """What is in many model servers, and nobody's business."""
    return {"database": "postgres://bank:secret@db"}
