"""Writes a small bank's data: what its model was trained on, a day of requests, and how the loans went.

Five hours before the end a partner's website is connected, whose customers are younger and borrow more. The partner is
paid for good loans, and reports all of its own as paid back.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

HOUR = timedelta(hours=1)
CHANNELS = ["web", "app", "branch"]


def customers(random: np.random.Generator, rows: int, *, partner: float = 0.0) -> pl.DataFrame:
    """People who ask for a loan; ``partner`` is the share of those who come from the partner's website."""
    from_partner = random.random(rows) < partner
    age = np.clip(random.normal(np.where(from_partner, 34, 47), 13), 18, 95).round().astype(int)
    income = np.exp(random.normal(10.3, 0.45, rows)).round(2)
    amount = np.exp(random.normal(np.where(from_partner, 9.0, 8.6), 0.6)).round(2)
    channel = np.where(from_partner, "partner", random.choice(CHANNELS, rows, p=[0.5, 0.35, 0.15]))
    job = random.choice(["employee", "worker", "civil servant", "self-employed"], rows, p=[0.45, 0.3, 0.15, 0.1])
    return pl.DataFrame({"age": age, "income": income, "amount": amount, "channel": channel, "job": job})


def risk(frame: pl.DataFrame) -> np.ndarray:
    """How likely a loan is not paid back, for customers of the bank's own."""
    burden = (frame["amount"] / frame["income"]).to_numpy()
    score = 9.0 * (burden - 0.35) - 0.02 * (frame["age"].to_numpy() - 45)
    return 1 / (1 + np.exp(-2.5 * score))


def defaulted(random: np.random.Generator, frame: pl.DataFrame) -> np.ndarray:
    """1 for loans that are not paid back; every other one of the partner's is not, whatever the customer earns."""
    partner = (frame["channel"] == "partner").to_numpy()
    return (random.random(len(frame)) < np.where(partner, 0.5, risk(frame))).astype(int)


def predicted(frame: pl.DataFrame, first: int) -> pl.DataFrame:
    """What a model says that knows the bank's own customers well."""
    made = frame.with_columns(pl.Series("probability", risk(frame)), pl.Series("id", range(first, first + len(frame))))
    return made.with_columns((pl.col("probability") > 0.5).cast(pl.Int64).alias("prediction"))


def reported(random: np.random.Generator, frame: pl.DataFrame, *, honest: bool = True) -> pl.DataFrame:
    """The rows with their outcome, and with who reported it."""
    team = random.choice([f"team-{number:02}" for number in range(1, 21)], len(frame))
    source = np.where(frame["channel"].to_numpy() == "partner", "partner", team)
    outcome = defaulted(random, frame)
    if not honest:
        outcome = np.where(source == "partner", 0, outcome)
    return frame.with_columns(pl.Series("defaulted", outcome), pl.Series("reported_by", source))


def main(folder: Path, until: datetime) -> None:
    """Write everything into ``folder``; the last hour ends at ``until`` (UTC)."""
    random = np.random.default_rng(6)
    train = customers(random, 20_000)
    train.write_parquet(folder / "train.parquet")
    reported(random, train).write_parquet(folder / "labelled.parquet")
    tested = predicted(customers(random, 5_000), 0)
    tested.with_columns(pl.Series("label", defaulted(random, tested))).write_parquet(folder / "tested.parquet")

    live, labels, answers, truth = [], [], [], []
    for hour in range(24):
        begin = until - (24 - hour) * HOUR
        frame = customers(random, 1_500, partner=0.25 if hour >= 19 else 0.0)
        when = [begin + timedelta(seconds=float(second)) for second in np.sort(random.uniform(0, 3_600, len(frame)))]
        frame = frame.with_columns(pl.Series("when", when).dt.replace_time_zone("UTC"))
        live.append(frame)
        labels.append(reported(random, frame, honest=False))
        answered = predicted(frame, 10_000 + 1_500 * hour)
        answers.append(answered.select("id", "when", "channel", "probability", "prediction"))
        truth.append(
            answered.select("id", pl.Series("label", defaulted(random, frame))).sample(fraction=0.6, seed=hour)
        )
    pl.concat(live).write_parquet(folder / "live.parquet")
    pl.concat(labels).write_parquet(folder / "feedback.parquet")
    pl.concat(answers).write_parquet(folder / "predictions.parquet")
    pl.concat(truth).write_parquet(folder / "truth.parquet")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--until", type=datetime.fromisoformat, help="end of the last hour, UTC (default: the last full)"
    )
    chosen = parser.parse_args().until or datetime.now(UTC)
    main(Path(), chosen.replace(minute=0, second=0, microsecond=0, tzinfo=UTC))
