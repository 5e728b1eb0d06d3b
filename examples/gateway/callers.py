"""Two callers: shops that ask about their customers, and somebody who wants the model for nothing.

python callers.py shop KEYS 200      each key of the folder asks about 200 customers of its own
python callers.py thief KEY 400      walks between paid-back and lost loans to find the boundary (Tramèr et al., 2016)
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl

Row = dict[str, float]


class Api:
    """The API as a caller sees it."""

    def __init__(self, key: Path, port: int = 8000) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._headers = {"Content-Type": "application/json", "X-Api-Key": key.read_text().strip()}

    def predict(self, row: Row) -> tuple[int, dict]:
        """Status and answer; waits where the gateway says so."""
        while True:
            body = json.dumps({"instances": [row]})
            self._connection.request("POST", "/v1/models/loans:predict", body, self._headers)
            response = self._connection.getresponse()
            answer = json.loads(response.read())
            if response.status != 429 or answer["error"]["rule"] != "plan:rate":
                return response.status, answer
            time.sleep(int(response.headers["Retry-After"]))


def customers(seed: int) -> list[Row]:
    """Loans that somebody asks about, in the order of one shop."""
    frame = pl.read_parquet("requests.parquet").drop("defaulted").sample(fraction=1.0, shuffle=True, seed=seed)
    return frame.to_dicts()


def shop(keys: list[Path], queries: int) -> None:
    """Each asks once about each of its customers."""
    for number, key in enumerate(keys):
        api = Api(key)
        answered = sum(api.predict(row)[0] == 200 for row in customers(number)[:queries])
        print(f"{key.stem}: {answered} of {queries} answered")


def thief(key: Path, queries: int) -> None:
    """Halves the way between two loans until the answer turns, again and again."""
    api, rows, chance = Api(key), customers(99), np.random.default_rng(2)
    refused: dict[str, int] = {}
    asked = 0
    while asked < queries:
        one, other = (rows[place] for place in chance.choice(len(rows), 2, replace=False))
        low, high = 0.0, 1.0
        for _ in range(min(12, queries - asked)):
            middle = (low + high) / 2
            row = {name: one[name] + middle * (other[name] - one[name]) for name in one}
            for name in ("age", "months", "children", "late"):  # it knows what is a whole number
                row[name] = round(row[name])
            status, answer = api.predict(row)
            asked += 1
            if status != 200:
                error = answer["error"]
                if error["rule"] == "detect":
                    print(f"{key.stem}: stopped at query {asked} with {status}: {error['message']}")
                    return
                refused[error["rule"]] = refused.get(error["rule"], 0) + 1
                continue
            low, high = (middle, high) if answer["predictions"][0]["label"] else (low, middle)
    print(
        f"{key.stem}: {asked - sum(refused.values())} of {asked} answered, never stopped; refused: {refused or 'none'}"
    )


if __name__ == "__main__":
    who, place, count = sys.argv[1:]
    if who == "shop":
        shop(sorted(Path(place).glob("*.key")), int(count))
    else:
        thief(Path(place), int(count))
