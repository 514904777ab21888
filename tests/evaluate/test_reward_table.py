"""Tables worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from accord.algorithms.statistics import wilson
from accord.evaluate.reward_table import compared, reward_table, safety, words_of
from accord.types import Comparison, Judgement, Message, Prompt, Response

THRESHOLDS = (0.5, 1.25, 2.5, 3.75)


def judged(name: str, texts: tuple[str, ...], grades: tuple[float, ...], safe: tuple[bool | None, ...] = ()):
    comparison = Comparison(name, Prompt(name, (Message("user", name),)), tuple(map(Response, texts)))
    return comparison, (Judgement(name, "me", grades, safe),)


# the chosen response, which comes first, is longer, longer, of equal length, shorter
JUDGED = [
    judged("clear", ("a b c", "d"), (4.0, 0.0)),
    judged("better", ("a b", "d"), (3.0, 0.0)),
    judged("slightly", ("a", "d"), (1.3, 0.0)),
    judged("hardly", ("a", "d e"), (0.1, 0.0)),
    judged("tie", ("a", "d"), (1.0, 1.0)),
]
NOTHING: list[Any] = [np.zeros(2)] * len(JUDGED)
RIGHT = [np.array([1.0, 0.0])] * len(JUDGED)
# right, wrong, equal, right
SOME = [np.array(one) for one in ([2.0, 1.0], [0.0, 1.0], [1.0, 1.0], [3.0, -1.0], [0.0, 9.0])]


class Words:
    """Likes the letter d."""

    def predict(self, texts):
        return np.array([float("d" in text) for text in texts])


def tabled(**scores: Any) -> dict[str, Any]:
    return reward_table(
        {"set": compared(JUDGED, THRESHOLDS)},
        {name: {"set": of} for name, of in scores.items()},
        {"train": Words()},
        homes={"some": ["set"], "right": ["set"]},
        calibrated=(),
        unsafe_below=(0.15,),
        seed=1,
    )


def test_accuracy_by_level():
    found = tabled(some=SOME)["rewards"]["some"]["set"]
    assert (found["n"], found["accuracy"]) == (4, (1 + 0 + 0.5 + 1) / 4)
    levels = {name: (one["n"], one["accuracy"]) for name, one in found["levels"].items()}
    assert levels == {
        "significantly better": (1, 1.0),
        "better": (1, 0.0),
        "slightly better": (1, 0.5),
        "negligibly better": (1, 1.0),
    }
    clear = found["levels"]["significantly better"]
    assert (clear["low"], clear["high"]) == (wilson(1, 1).low, 1.0)  # no draw changes it
    assert 0 <= found["low"] < found["accuracy"] < found["high"] <= 1
    assert "bins" not in found


def test_floors_and_the_lead_over_the_best():
    found = tabled(some=SOME, right=RIGHT, nothing=NOTHING)
    one = found["sets"]["set"]
    counts = {name: value for name, value in one.items() if name.startswith("num_")}
    assert counts == {
        "num_comparisons": 5,
        "num_prompts": 4,
        "num_pairs": 4,
        "num_ties": 1,
        "num_pairs_unsafe_chosen": 0,
    }
    accuracies = {name: floor["accuracy"] for name, floor in one["floors"].items()}
    assert accuracies == {"longest": 0.625, "shortest": 0.375, "words of train": 0.0}
    assert one["floor"] == {"name": "longest", "accuracy": 0.625}
    leads = {name: of["set"]["lead"]["value"] for name, of in found["rewards"].items()}
    assert leads == {"some": 0.0, "right": 0.375, "nothing": -0.125}
    # right less longest is 0, 0, 0.5, 1 by pair
    assert found["rewards"]["right"]["set"]["lead"]["low"] >= 0


def test_what_is_not_above_its_floor_at_home_is_not_counted():
    sets = {"home": compared(JUDGED, THRESHOLDS), "away": compared(JUDGED[:2], THRESHOLDS)}
    found = reward_table(
        sets,
        {name: {"home": of, "away": of[:2]} for name, of in (("right", RIGHT), ("some", SOME), ("lost", RIGHT))},
        {},
        homes={"right": ["home"], "some": ["home"]},
        calibrated=(),
        unsafe_below=(),
        seed=1,
    )["rewards"]
    counted = {name: [cells[of]["counted"] for of in sets] for name, cells in found.items()}
    assert counted == {"right": [True, True], "some": [False, False], "lost": [None, None]}
    assert [found["right"][of]["home"] for of in sets] == [True, False]


def test_pairs_of_one_prompt_are_drawn_together():
    """Two prompts with 50 pairs each, one all right and one all wrong: a resample has none, half or all."""
    many = []
    for i in range(100):
        one, (said,) = judged(f"c{i}", ("a", "d"), (1.0, 0.0))
        prompt = Prompt(f"c{i}", (Message("user", f"prompt {i % 2}"),))
        many.append((Comparison(one.id, prompt, one.responses), (said,)))
    scores = [np.array([1.0, 0.0]) if i % 2 else np.array([0.0, 1.0]) for i in range(100)]
    found = reward_table(
        {"set": compared(many, THRESHOLDS)},
        {"half": {"set": scores}},
        {},
        homes={},
        calibrated=(),
        unsafe_below=(),
        seed=1,
    )["rewards"]["half"]["set"]
    assert (found["accuracy"], found["low"], found["high"]) == (0.5, 0.0, 1.0)


def test_bins_of_safety_and_unsafe_chosen():
    some = [
        judged("a", ("no", "go"), (1.0, 0.0), (True, False)),
        judged("b", ("no", "go"), (1.0, 0.0), (True, True)),
        judged("c", ("no", "go"), (1.0, 0.0), (False, False)),
        judged("d", ("no", "go"), (1.0, 0.0), (False, True)),
        judged("e", ("no", "go"), (1.0, 0.0), (None, True)),
        judged("f", ("no", "go"), (1.0, 0.0)),
    ]
    table = reward_table(
        {"set": compared(some, THRESHOLDS)},
        {"one": {"set": [np.array([1.0, 0.0])] * 5 + [np.array([0.0, 1.0])]}},
        {},
        homes={},
        calibrated=["one"],
        unsafe_below=(0.5,),
        seed=1,
    )
    assert table["sets"]["set"]["num_pairs_unsafe_chosen"] == 1
    cell = table["rewards"]["one"]["set"]
    assert (cell["n"], cell["accuracy"]) == (5, 0.8)
    bins = {name: (one["n"], one["accuracy"]) for name, one in cell["bins"].items()}
    assert bins == {"safe over unsafe": (1, 1.0), "both safe": (1, 1.0), "both unsafe": (1, 1.0)}
    assert cell["safety"]["num_labelled"] == 9  # an unsafe one that was chosen is a labelled response all the same


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def test_unsafe_responses_are_found_by_the_raw_score():
    some = [
        judged("a", ("no", "go"), (1.0, 0.0), (True, False)),
        judged("b", ("no", "go"), (1.0, 0.0), (True, False)),
        judged("c", ("no", "go", "yes"), (2.0, 1.0, 0.0), (True, True, None)),
        judged("d", ("no", "go"), (1.0, 0.0)),
    ]
    probabilities = [[0.9, 0.1], [0.14, 0.3], [0.8, 0.4, 0.01], [0.01, 0.01]]
    scores = [np.array([logit(p) for p in of]) for of in probabilities]
    found = safety(compared(some, THRESHOLDS).rankings, scores, (0.15, 0.5, 0.05), seed=1)
    assert (found["num_labelled"], found["num_unsafe"]) == (6, 2)
    low, half, none = (found["below"][name] for name in ("0.15", "0.5", "0.05"))
    assert (low["num_found"], low["precision"]["value"], low["recall"]["value"]) == (2, 0.5, 0.5)  # 0.1 and 0.14
    assert (half["num_found"], half["precision"]["value"], half["recall"]["value"]) == (4, 0.5, 1.0)  # and 0.3, 0.4
    assert (none["num_found"], none["precision"], none["recall"]["value"]) == (0, None, 0.0)
    # from the least safe: 0.1 unsafe, 0.14 safe, 0.3 unsafe: (1 + 2/3) / 2
    assert found["average_precision"]["value"] == pytest.approx(5 / 6)
    assert found["average_precision"]["low"] <= 5 / 6 <= found["average_precision"]["high"]


def test_nothing_unsafe_has_no_average_precision():
    some = [judged("a", ("no", "go"), (1.0, 0.0), (True, True))]
    found = safety(compared(some, THRESHOLDS).rankings, [np.array([0.0, -5.0])], (0.5,), seed=1)
    assert found["average_precision"] is None
    assert found["below"]["0.5"] == {
        "num_found": 1,
        "precision": {"value": 0.0, "low": 0.0, "high": wilson(0, 1).high},
        "recall": None,
    }


def test_words_are_fitted_on_what_a_comparison_says():
    texts, above = words_of([judged("a", ("x", "y", "z"), (4.0, 1.0, 1.0)), judged("b", ("x", "w"), (1.0, 0.0))])
    assert texts == ["x", "y", "z", "x", "w"]
    assert above == [2.0, -1.0, -1.0, 0.5, -0.5]
