"""A reward that counts words, on four pairs that are worked out by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from accord.data.formats.options import ReadOptions
from accord.errors import UserError
from accord.evaluate.reward_report import evaluate_reward
from accord.models.scalar import Normalisation, ScalarModel
from accord.rewards.combination import Combination
from accord.rewards.combined import CombinedReward
from accord.rewards.learned import LearnedReward
from tests.fixtures.judged import TextReward, num_words, pair, write

WORDS = TextReward(num_words)
ROWS = [
    pair("a", "one two three", "one", subset="long", margin=2.0),  # gap 2
    pair("a", "one two", "one", subset="long", margin=0.0),  # gap 1
    pair("b", "one", "one two three", subset="short", margin=0.0),  # gap -2
    pair("c", "one two", "two one", subset="short", margin=2.0),  # gap 0
    pair("d", "one", "two", subset="short", tie=True),
]
OPTIONS = ReadOptions()


@pytest.fixture
def data(tmp_path: Path) -> str:
    return write(tmp_path / "pairs.jsonl", ROWS)


def test_by_hand(data: str) -> None:
    found = evaluate_reward(WORDS, data, OPTIONS, seed=1)
    assert (found["n"], found["ties"], found["prompts"], found["column"]) == (4, 1, 3, "subset")
    assert found["accuracy"] == 2.5 / 4
    assert found["low"] < 2.5 / 4 < found["high"]
    values = {name: one and one["value"] for name, one in found["baselines"].items()}
    assert values == {"longest": 2.5 / 4, "shortest": 1.5 / 4, "first": None, "constant": 0.5}
    assert {name: (one["n"], one["accuracy"], one["longest"]) for name, one in found["subsets"].items()} == {
        "long": (2, 1.0, 1.0),
        "short": (2, 0.25, 0.25),
    }
    # margins of 2 and 0 are differences of grades of 3 and 1
    assert [(one["from"], one["to"], one["n"], one["accuracy"]) for one in found["strengths"]] == [
        (1.0, 1.0, 2, 0.5),
        (3.0, 3.0, 2, 0.75),
    ]
    assert sum(one["n"] for one in found["lengths"]) == 4
    assert found["lengths"][0] | {"low": 0, "high": 0} == {
        "from": -2.0,
        "to": -2.0,
        "n": 1,
        "accuracy": 0.0,
        "longest": 0.0,
        "low": 0,
        "high": 0,
    }
    difference = found["score_difference"]
    assert difference["value"] == 1 / 4
    scores = [3, 1, 2, 1, 1, 3, 2, 2]
    deviation = math.sqrt(sum((x - 15 / 8) ** 2 for x in scores) / 8)
    assert difference["in_deviations"] == pytest.approx(0.25 / deviation)
    assert found["calibration"]["log_loss"] == pytest.approx(
        sum(math.log(1 + math.exp(-gap)) for gap in (2, 1, -2, 0)) / 4
    )
    assert found["left_out"] == {"num_rows": 0, "num_with_control_tokens": 0, "num_too_long": 0}
    json.dumps(found, allow_nan=False)


def test_another_column_and_rows_that_cannot_be_used(tmp_path: Path) -> None:
    rows = [pair("a", "x y", "x", kind=1), pair("b", "x y", "x"), pair("c", "same", "same", kind=1)]
    found = evaluate_reward(WORDS, write(tmp_path / "p.jsonl", rows), OPTIONS, by="kind")
    assert {name: one["n"] for name, one in found["subsets"].items()} == {"(none)": 1, "1": 1}
    assert found["left_out"]["num_rows"] == 1
    assert found["strengths"] == []
    with pytest.raises(UserError, match=r"p\.jsonl: there is no column 'kin'") as caught:
        evaluate_reward(WORDS, str(tmp_path / "p.jsonl"), OPTIONS, by="kin")
    assert caught.value.remedy == "Did you mean 'kind'?"


def test_a_ranking_is_all_its_pairs_and_its_order_in_the_file_is_a_baseline(tmp_path: Path) -> None:
    rows = [
        {"prompt": "a", "responses": ["one two three", "one two", "one"], "scores": [3, 2, 1]},
        {"prompt": "b", "responses": ["one", "one two"], "scores": [1, 2]},
    ]
    found = evaluate_reward(WORDS, write(tmp_path / "r.jsonl", rows), OPTIONS)
    assert (found["n"], found["accuracy"], found["column"], found["subsets"]) == (4, 1.0, "", {})
    assert found["baselines"]["first"]["value"] == 0.75
    assert [(one["from"], one["n"]) for one in found["strengths"]] == [(1.0, 3), (2.0, 1)]


def test_a_reward_made_of_others_says_where_they_disagree(data: str) -> None:
    """Words, and minus words halved: one is right where the other is wrong; their mean is half the words."""
    other = TextReward(lambda text: -num_words(text) / 2)
    both = CombinedReward([WORDS, other], Combination("mean"), Normalisation())
    found = evaluate_reward(both, data, OPTIONS)["ensemble"]
    assert found["num_members"] == 2
    assert found["accuracy"] == [2.5 / 4, 1.5 / 4]
    assert (found["unanimous"]["n"], found["divided"]["n"]) == (0, 4)
    assert found["divided"]["accuracy"] == 2.5 / 4
    assert found["spread"] == pytest.approx(15 / 8 * 3 / 4)  # half of w + w / 2, over eight responses of 15 words
    alike = CombinedReward([WORDS, WORDS], Combination("worst"), Normalisation())
    assert evaluate_reward(alike, data, OPTIONS)["ensemble"]["unanimous"]["n"] == 3  # equal scores are no order


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> LearnedReward:
    ScalarModel.from_policy(tiny_model, seed=1).save(tmp_path / "reward", {}, Normalisation(0.5, 2.0))
    return LearnedReward.load(tmp_path / "reward", torch.float32)


def test_a_models_scores_are_raw_and_what_it_cannot_read_is_left_out(model: LearnedReward, tmp_path: Path) -> None:
    rows = [
        pair("Hello.", "A warm film.", "A dull plot."),
        pair("Hello.", "word " * 300, "A dull plot."),
        pair("Hello.", "It ends <|im_end|> here.", "A dull plot."),
    ]
    source = write(tmp_path / "p.jsonl", rows)
    found = evaluate_reward(model, source, OPTIONS)
    assert found["left_out"] == {"num_rows": 0, "num_with_control_tokens": 1, "num_too_long": 1}
    from accord.evaluate.preferences import pairs_of, read_preferences
    from accord.evaluate.scoring import score_all

    (comparison, _), *_ = read_preferences(source, OPTIONS).judged
    normalised = model.score([comparison.prompt], [comparison.responses])
    raw = score_all(model, [comparison.prompt], [comparison.responses]).scores[0]
    assert raw == pytest.approx(normalised.numpy() / 2 + 0.5, abs=1e-6)
    assert found["score_difference"]["value"] == pytest.approx(float(raw[0] - raw[1]))
    assert len(pairs_of(read_preferences(source, OPTIONS).judged)) == 3
    only = write(tmp_path / "q.jsonl", rows[1:])
    with pytest.raises(UserError, match="none of the 2 comparisons: 1 hold a control token, and 1 are longer"):
        evaluate_reward(model, only, OPTIONS)


def test_what_has_no_order_is_an_error(tmp_path: Path) -> None:
    ties = write(tmp_path / "ties.jsonl", [pair("a", "x", "y", tie=True)])
    with pytest.raises(UserError, match=r"ties\.jsonl: no comparison has an order: 1 pairs are ties"):
        evaluate_reward(WORDS, ties, OPTIONS)
    same = write(tmp_path / "same.jsonl", [pair("a", "x", "x")])
    with pytest.raises(UserError, match=r"no row can be used.*\n.*same\.jsonl:1:rejected: is equal to chosen"):
        evaluate_reward(WORDS, same, OPTIONS)
    prompts = write(tmp_path / "prompts.jsonl", [{"prompt": "a"}])
    with pytest.raises(UserError, match="the columns do not tell comparisons"):
        evaluate_reward(WORDS, prompts, OPTIONS)
