"""Tables with columns of text, whose model is a pipeline: encoded to be attacked, asked about as they are."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas
import polars
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from assay.api import calibrating
from assay.api.simulating import Asked, simulate
from assay.errors import UsageError
from assay.guard.gateway.detect import calibration
from assay.guard.gateway.simulate import attackers
from assay.guard.gateway.simulate.predictors import Fitted
from assay.guard.gateway.simulate.texts import encoding_of, snapped
from assay.guard.gateway.simulate.world import world_of

JOBS = ("clerk", "farmer", "self_employed=yes")


def people(seed: int, count: int = 300) -> polars.DataFrame:
    """Who gets a loan is a matter of age and job."""
    rng = np.random.default_rng(seed)
    age, income = rng.integers(18, 80, count), np.round(rng.normal(30, 5, count), 1)
    job = rng.choice(JOBS, count)
    good = (age > 45) ^ (job == "farmer") ^ (rng.random(count) < 0.1)
    return polars.DataFrame({"age": age, "job": job, "income": income, "good": np.where(good, "yes", "no")})


@pytest.fixture(scope="module")
def model():
    """A pipeline as people write it: one-hot for texts, scaled numbers, a forest."""
    known = people(1).drop("good").to_pandas()
    encoder = make_column_transformer(
        (OneHotEncoder(handle_unknown="error"), ["job"]), (StandardScaler(), ["age", "income"])
    )
    made = make_pipeline(encoder, RandomForestClassifier(20, random_state=0))
    return made.fit(known, people(1)["good"].to_list())


def encoded(model):
    table = people(1)
    predictor = Fitted(model, ("age", "job", "income"), "m")
    encoding = encoding_of(table, predictor.names)
    predictor.encode(encoding)
    return table, encoding, predictor


def test_the_model_answers_encoded_rows_as_it_does_the_table(model):
    table, encoding, predictor = encoded(model)
    assert predictor.names == ("age", "job=clerk", "job=farmer", "job=self_employed=yes", "income")
    assert encoding.groups == ((1, 2, 3),) and encoding.numbers == 2
    rows = encoding.rows(table)
    assert rows.shape == (300, 5) and (rows[:, 1:4].sum(axis=1) == 1).all()
    asked = table.drop("good").to_pandas()
    assert np.allclose(predictor.predict(rows), model.predict_proba(asked))
    assert isinstance(encoding.frame(rows), pandas.DataFrame)
    assert encoding.frame(rows)["job"].tolist() == asked["job"].tolist()


WITHOUT_PANDAS = """
import sys
import numpy as np
import polars

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pandas":
            raise ImportError(name)

sys.meta_path.insert(0, Blocked())
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier
from assay.guard.gateway.simulate.predictors import Fitted
from assay.guard.gateway.simulate.texts import encoding_of

table = polars.DataFrame({"age": [30, 40, 50, 60], "job": ["a", "b", "a", "b"]})
model = make_pipeline(make_column_transformer((OneHotEncoder(), ["job"]), remainder="passthrough"),
                      DecisionTreeClassifier(random_state=0)).fit(table, [0, 1, 1, 0])
predictor = Fitted(model, table.columns, "m")
encoding = encoding_of(table, predictor.names)
predictor.encode(encoding)
assert isinstance(encoding.frame(encoding.rows(table)), polars.DataFrame) and "pandas" not in sys.modules
print(predictor.predict(encoding.rows(table)).argmax(axis=1).tolist())
"""


def test_the_model_is_asked_without_pandas_too():
    done = subprocess.run([sys.executable, "-c", WITHOUT_PANDAS], capture_output=True, text=True, check=False)
    assert done.stdout == "[0, 1, 1, 0]\n", done.stderr


def test_what_is_missing_or_unknown_is_no_row():
    encoding = encoding_of(people(1), ("age", "job"))
    rows = encoding.rows(polars.DataFrame({"age": [30, None, 40, 50], "job": ["clerk", "clerk", "pilot", None]}))
    assert np.isfinite(rows).all(axis=1).tolist() == [True, False, False, False]
    with pytest.raises(UsageError, match="'age' is no number here"):
        encoding.rows(polars.DataFrame({"age": ["old"], "job": ["clerk"]}))


@pytest.mark.parametrize(
    ("column", "sentence"),
    [([f"name {i}" for i in range(101)], "101 different texts"), ([[1]] * 101, "neither a number nor a text")],
)
def test_what_is_no_category_is_refused(column, sentence):
    with pytest.raises(UsageError, match=sentence):
        encoding_of(polars.DataFrame({"a": column}), ("a",))


@pytest.mark.parametrize("attack", [name for name in attackers.ATTACKS if name != "hop-skip-jump"])
def test_no_attack_sends_what_lies_between_two_texts(model, attack):
    table, encoding, predictor = encoded(model)
    rows = encoding.rows(table)
    world = world_of(predictor.predict, rows, predictor.names, rows, predictor.texts)
    assert world.groups == ((1, 2, 3),) and world.seen.tolist() == [0, 4]
    asked, answers = attackers.record(world, attack, np.random.default_rng(0), 60)
    assert len(asked) == 60 and (np.sort(asked[:, 1:4], axis=1) == [0, 0, 1]).all()
    assert np.allclose(answers, predictor.predict(asked))


def test_snapping_takes_the_nearest_value_and_leaves_numbers():
    rows = np.array([[0.3, 0.2, 0.4, 0.1], [0.3, -1.0, -2.0, -3.0]])
    assert snapped(rows, ((1, 2, 3),)).tolist() == [[0.3, 0, 1, 0], [0.3, 1, 0, 0]]
    assert snapped(rows, ()) is rows


def test_a_simulation_of_a_pipeline_on_a_table(model):
    asked = Asked(people(1), people(2), "good", queries=50, callers=20)
    report = simulate(model, asked)
    assert report.columns == 3 and report.classes == 2 and report.proper
    assert report.trained > 0.95 > report.accuracy
    assert report.outcomes[0].membership["confidence"] > 0.6
    assert {one.attack for one in report.detection.streams} == set(attackers.ATTACKS)
    assert any("one for another" in note for note in report.notes)


def test_detectors_have_nothing_to_look_at_where_all_is_text():
    table = people(1).select("job", "good")
    other = people(2).select("job", "good")
    made = make_pipeline(OneHotEncoder(), RandomForestClassifier(3, random_state=0))
    made.fit(table.select("job").to_pandas(), table["good"].to_list())
    report = simulate(made, Asked(table, other, "good", queries=25, callers=20))
    assert report.detection is None and report.outcomes


def test_detectors_are_calibrated_on_the_numbers_of_a_table_with_texts(model, tmp_path, monkeypatch):
    monkeypatch.setattr(calibrating, "CALLERS", 20)
    monkeypatch.setattr(calibrating, "QUERIES", 50)
    people(1).select("job", "income", "good", "age").write_parquet(tmp_path / "train.parquet")
    made = str(tmp_path / "made.json")
    calibrating.calibrate(str(tmp_path / "train.parquet"), made, model=model, leave_out=["good"])
    assert calibration.load(made).space.names == ("age", "income"), "in the order of the model"
