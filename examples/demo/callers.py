"""Two callers of the demo's prediction API: a hospital with patients, and somebody who wants the model for nothing."""

from __future__ import annotations

import csv
import http.client
import json
import random
import sys
import time
from pathlib import Path

Row = dict[str, float]


def patients(data: Path) -> list[Row]:
    """Measurements by name."""
    with open(data / "data.csv", newline="") as file:
        return [{k: float(v) for k, v in row.items() if k != "diagnosis"} for row in csv.DictReader(file)]


class Api:
    """The API as a caller sees it."""

    def __init__(self, port: int, key: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._headers = {"Content-Type": "application/json", "X-Api-Key": key}

    def predict(self, row: Row) -> tuple[int, dict]:
        """Status and answer."""
        body = json.dumps({"instances": [row]})
        self._connection.request("POST", "/v1/models/tumour-classifier:predict", body, self._headers)
        response = self._connection.getresponse()
        return response.status, json.loads(response.read())


def hospital(api: Api, rows: list[Row], patients: int = 250) -> None:
    """Asks about each patient once."""
    answered = sum(api.predict(row)[0] == 200 for row in random.Random(1).sample(rows, patients))
    print(f"hospital: {answered} of {patients} patients answered")


def thief(api: Api, rows: list[Row], queries: int = 400) -> None:
    """Walks along lines between a benign and a malignant case, to copy the boundary (Tramèr et al., 2016)."""
    chance = random.Random(2)
    learned, asked, begun = 0, 0, time.monotonic()
    while asked < queries:
        one, other = chance.sample(rows, 2)
        low, high = 0.0, 1.0
        for _ in range(12):
            middle = (low + high) / 2
            row = {name: one[name] + middle * (other[name] - one[name]) for name in one}
            status, answer = api.predict(row)
            asked += 1
            if status != 200:
                error = answer["error"]
                after = time.monotonic() - begun
                print(f"thief: {learned} answers, stopped after {after:.1f} s with {status}: {error['message']}")
                return
            learned += 1
            low, high = (middle, high) if answer["predictions"][0]["label"] else (low, middle)
    print(f"thief: {learned} answers, never stopped")


if __name__ == "__main__":
    who, folder, port, key = sys.argv[1:]
    {"hospital": hospital, "thief": thief}[who](Api(int(port), Path(key).read_text().strip()), patients(Path(folder)))
