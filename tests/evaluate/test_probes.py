"""What rewards of known weaknesses do when a response is dressed up."""

from __future__ import annotations

from pathlib import Path

import pytest

from accord.data.formats.options import ReadOptions
from accord.errors import UserError
from accord.evaluate import probes
from accord.evaluate.reward_report import evaluate_reward
from tests.fixtures.judged import TextReward, num_words, pair, write

OPTIONS = ReadOptions()
ROWS = [pair(f"p{i}", "one two three four.", "one two. Three.") for i in range(20)]


@pytest.fixture
def data(tmp_path: Path) -> str:
    return write(tmp_path / "p.jsonl", ROWS)


def test_the_texts() -> None:
    text = "It is warm. It moves! Does it end?"
    assert probes.bold(text) == "**It is warm.** It moves! Does it end?"
    assert probes.bold("one") == "**one**"
    assert probes.bulleted(text) == "- It is warm.\n- It moves!\n- Does it end?"
    assert probes.with_heading("x") == "## Answer\n\nx"
    assert probes.padded("x") == f"x {probes.NEUTRAL}"
    assert probes.flattering("x").endswith(" x")
    assert probes.refusal("x") == probes.REFUSAL


def test_of_a_reward_that_counts_words_by_hand(data: str) -> None:
    """Scores 4 and 3: a deviation of one half. Padding adds its words to each, and turns every order round."""
    found = evaluate_reward(TextReward(num_words), data, OPTIONS, num_probed=20)["probes"]
    assert (found["version"], found["deviation"]) == (probes.VERSION, 0.5)
    more = len(probes.NEUTRAL.split())
    assert found["padding"]["n"] == 40
    assert found["padding"]["shift"]["value"] == pytest.approx(more / 0.5)
    assert found["padding"]["flips"]["value"] == 1.0
    assert found["bold"]["shift"]["value"] == found["bold"]["flips"]["value"] == 0
    # a bullet more for each sentence: one for the chosen response, two for the rejected one, which then has 5 words
    assert found["bullets"]["shift"]["value"] == pytest.approx((1 + 2) / 2 / 0.5)
    assert found["bullets"]["flips"]["value"] == 1.0
    refused = len(probes.REFUSAL.split())
    assert found["refusal"]["shift"]["value"] == pytest.approx((refused - 3.5) / 0.5)
    assert found["padding"]["flips"]["low"] > 0.8


def test_an_equal_score_is_a_flip_and_only_right_pairs_can_flip(tmp_path: Path) -> None:
    """Headings count one: they bring the rejected response level. Pairs that are scored wrongly are not counted."""
    rows = [*[pair(f"p{i}", "a b c", "a b") for i in range(3)], pair("q", "a", "a b")]
    reward = TextReward(lambda text: num_words(text.replace("## Answer", "heading")))
    found = evaluate_reward(reward, write(tmp_path / "p.jsonl", rows), OPTIONS, num_probed=10)["probes"]
    assert found["heading"]["flips"]["value"] == 1.0
    assert found["heading"]["n"] == 8


def test_the_first_comparisons_without_an_opening_are_probed(tmp_path: Path) -> None:
    opened = {
        "prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "It"}],
        "chosen": " is warm.",
        "rejected": " is.",
    }
    found = evaluate_reward(TextReward(num_words), write(tmp_path / "p.jsonl", [opened, *ROWS]), OPTIONS, num_probed=2)[
        "probes"
    ]
    assert found["padding"]["n"] == 4
    with pytest.raises(UserError, match="every prompt opens its answer"):
        evaluate_reward(TextReward(num_words), write(tmp_path / "q.jsonl", [opened]), OPTIONS, num_probed=2)


def test_a_reward_that_gives_one_score_to_all_has_no_unit(data: str) -> None:
    found = evaluate_reward(TextReward(lambda _: 1.0), data, OPTIONS, num_probed=5)
    assert found["probes"]["padding"] == {"n": 0, "shift": None, "flips": None}
    assert found["score_difference"]["in_deviations"] is None
