"""The public suites' arithmetic on made-up rows. The reward is a number that the text holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from accord.data.formats.options import ReadOptions
from accord.errors import UserError
from accord.evaluate.reward_report import evaluate_reward
from accord.evaluate.suites import SECTIONS
from tests.fixtures.judged import TextReward, pair, write

OPTIONS = ReadOptions()
NUMBER = TextReward(lambda text: float(text.rsplit(maxsplit=1)[-1]))


def rows_of(subset: str, num: int, num_right: int) -> list[dict[str, Any]]:
    return [pair(f"{subset} {i}", f"score {int(i < num_right)}", "score 0.5", subset=subset) for i in range(num)]


def test_sections_are_weighted_by_their_examples(tmp_path: Path) -> None:
    """Chat: 1/2 of 2 and 4/4 of 4. Safety: the two of XSTest by their own counts. Reasoning: math as much as code."""
    rows = [
        *rows_of("alpacaeval-easy", 2, 1),
        *rows_of("mt-bench-easy", 4, 4),
        *rows_of("llmbar-natural", 2, 1),
        *rows_of("xstest-should-refuse", 2, 2),
        *rows_of("xstest-should-respond", 6, 3),
        *rows_of("math-prm", 2, 0),
        *rows_of("hep-go", 4, 4),
        *rows_of("hep-rust", 4, 3),
        *rows_of("another", 3, 0),
    ]
    found = evaluate_reward(NUMBER, write(tmp_path / "rb.jsonl", rows), OPTIONS, suite="rewardbench")["suite"]
    sections = {name: one["value"] for name, one in found["sections"].items()}
    assert sections == {
        "Chat": pytest.approx(5 / 6),
        "Chat Hard": 0.5,
        "Safety": pytest.approx(5 / 8),
        "Reasoning": pytest.approx((0 * 8 + 1 * 4 + 0.75 * 4) / 16),
    }
    assert found["overall"]["value"] == pytest.approx(sum(sections.values()) / 4)
    assert found["unknown"] == ["another"]
    assert len(found["missing"]) == sum(map(len, SECTIONS.values())) - 8


def test_the_whole_suite_weighs_mathematics_as_published() -> None:
    names = [name for section in SECTIONS.values() for name in section]
    assert len(names) == len(set(names)) == 23
    assert 6 * 164 == 984


def test_equal_scores_are_wrong_as_in_its_code(tmp_path: Path) -> None:
    rows = [pair("a", "score 1", "scores 1", subset="donotanswer")]
    found = evaluate_reward(NUMBER, write(tmp_path / "rb.jsonl", rows), OPTIONS, suite="rewardbench")
    assert (found["accuracy"], found["suite"]["overall"]["value"]) == (0.5, 0.0)


def test_a_file_of_something_else_is_told(tmp_path: Path) -> None:
    source = write(tmp_path / "p.jsonl", [pair("a", "score 1", "score 0", subset="mine")])
    with pytest.raises(UserError, match="none of RewardBench's subsets is in the column 'subset', which holds: mine"):
        evaluate_reward(NUMBER, source, OPTIONS, suite="rewardbench")
    plain = write(tmp_path / "q.jsonl", [pair("a", "score 1", "score 0")])
    with pytest.raises(UserError, match="there is no column 'subset'"):
        evaluate_reward(NUMBER, plain, OPTIONS, suite="rewardbench")


def four(subset: str, chosen: list[float], rejected: list[float], name: str) -> dict[str, Any]:
    texts = [[f"{letter} {x}" for letter, x in zip("abcd", of, strict=False)] for of in (chosen, rejected)]
    return {"id": name, "prompt": f"question {name}", "subset": subset, "chosen": texts[0], "rejected": texts[1]}


def test_best_of_four_and_ties(tmp_path: Path) -> None:
    rows = [
        four("Math", [3], [1, 2, 0], "1"),
        four("Math", [1], [1, 0, 0], "2"),  # shares the first place
        four("Focus", [0], [1, 2, 3], "3"),
        four("Ties", [3], [0, 1], "ref:1"),
        four("Ties", [5, 4], [0, 1], "tied:1"),
    ]
    found = evaluate_reward(NUMBER, write(tmp_path / "rb2.jsonl", rows), OPTIONS, suite="rewardbench2")
    sections = {name: one["value"] for name, one in found["suite"]["sections"].items()}
    ties = 0.3 + 0.3 + 0.2 + 0.2 + 0.01 * 0.7615941559557649  # tanh(2 / 1 - 1)
    assert sections == {"Math": 0.75, "Focus": 0.0, "Ties": pytest.approx(ties)}
    assert found["suite"]["overall"]["value"] == pytest.approx((0.75 + ties) / 3)
    assert found["n"] == 3 + 3 + 3 + 2 + 4


def test_rows_of_another_form_are_told_with_their_place(tmp_path: Path) -> None:
    good = four("Math", [3], [1, 2, 0], "1")
    bad = [
        (good | {"chosen": "a 3"}, r"rb2\.jsonl:1:chosen"),
        (good | {"rejected": []}, r"rb2\.jsonl:1:rejected: is empty"),
        (good | {"rejected": None}, r"rb2\.jsonl:1:rejected: is missing"),
        (good | {"subset": None}, r"rb2\.jsonl:1:subset: a text is wanted, not null"),
        (good | {"subset": "Ties"}, r"rb2\.jsonl:1:id: '1' is not ref:NUMBER or tied:NUMBER"),
    ]
    for row, message in bad:
        with pytest.raises(UserError, match=message):
            evaluate_reward(NUMBER, write(tmp_path / "rb2.jsonl", [row]), OPTIONS, suite="rewardbench2")
    with pytest.raises(UserError, match="has its subsets in `subset`"):
        evaluate_reward(NUMBER, write(tmp_path / "rb2.jsonl", [good]), OPTIONS, suite="rewardbench2", by="id")
    own = {("question" if name == "prompt" else name): value for name, value in good.items()}
    renamed = ReadOptions(columns={"prompt": "question"})
    assert evaluate_reward(NUMBER, write(tmp_path / "q.jsonl", [own]), renamed, suite="rewardbench2")["n"] == 3
    found = evaluate_reward(NUMBER, write(tmp_path / "rb2.jsonl", [bad[0][0], good]), OPTIONS, suite="rewardbench2")
    assert (found["left_out"]["num_rows"], found["n"]) == (1, 3)
