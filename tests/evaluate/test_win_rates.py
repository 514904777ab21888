"""Judged pairs from a file, worked out by hand where they can be."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accord.algorithms.ratings import ANCHOR, ELO
from accord.errors import UserError
from accord.evaluate.style import style_of
from accord.evaluate.win_rates import evaluate_judged
from tests.fixtures.judged import write


def row(prompt: int, winner: Any, a: str = "new", b: str = "old", **more: Any) -> dict[str, Any]:
    texts = {"response_a": f"{a} says {'so ' * (prompt % 5)}", "response_b": f"{b} says {'so ' * (prompt % 3)}"}
    return {"prompt": f"p{prompt}", "policy_a": a, "policy_b": b, **texts, "winner": winner, **more}


def turned(one: dict[str, Any], winner: Any) -> dict[str, Any]:
    """The same two responses in the other order."""
    swapped = {f"{of}_{x}": one[f"{of}_{y}"] for of in ("policy", "response") for x, y in ("ab", "ba")}
    return {**one, **swapped, "winner": winner}


def found_in(path: Path, rows: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    found = evaluate_judged(write(path / "judged.jsonl", rows), {}, seed=1, **options)
    json.dumps(found, allow_nan=False)
    return found


def test_both_orders_by_hand(tmp_path: Path) -> None:
    """A win in both orders, a loss in both, a judge who takes the first place, and one pair in one order: a win."""
    rows = [row(i, "a") for i in range(4)]
    other = [turned(rows[0], "b"), turned(rows[1], "a"), turned(rows[2], "a")]
    rows[1]["winner"] = "old"
    found = found_in(tmp_path, [*rows, *other])
    one = found["judges"]["judge"]
    assert (found["baseline"], one["n"], one["both_orders"]) == ("old", 4, 3)
    assert one["flips"]["value"] == pytest.approx(1 / 3)
    assert one["first_place"]["value"] == pytest.approx(4 / 6)  # 1 0, 0 1, 1 1
    new = one["policies"]["new"]
    values = {name: new[name]["value"] for name in ("win_rate", "wins", "ties", "losses")}
    assert values == {"win_rate": 2.5 / 4, "wins": 0.5, "ties": 0.25, "losses": 0.25}
    assert list(one["policies"]) == ["new"]
    assert one["ratings"]["new"]["value"] == pytest.approx(ANCHOR + ELO * math.log(2.5 / 1.5), abs=3)
    assert one["ratings"]["old"] == {"value": ANCHOR, "low": ANCHOR, "high": ANCHOR}


def test_the_baseline_turns_it_round_and_a_policys_name_is_a_winner(tmp_path: Path) -> None:
    rows = [row(i, "new" if i % 4 else "old") for i in range(40)]
    one = found_in(tmp_path, rows, baseline="new")["judges"]["judge"]
    assert one["policies"]["old"]["win_rate"]["value"] == 0.25
    assert one["ratings"]["new"]["value"] == ANCHOR
    with pytest.raises(UserError, match=r"judged\.jsonl: the baseline 'now' is none of the policies"):
        found_in(tmp_path, rows, baseline="now")


def test_probabilities_are_averaged_over_the_orders(tmp_path: Path) -> None:
    first = row(1, 0.9)
    one = found_in(tmp_path, [first, turned(first, "0.3"), row(2, 0.4)])["judges"]["judge"]
    assert one["policies"]["new"]["win_rate"]["value"] == pytest.approx((0.8 + 0.4) / 2)
    assert one["policies"]["new"]["wins"]["value"] == 0.5
    assert one["flips"]["value"] == 0


def test_a_judge_of_length_is_told(tmp_path: Path) -> None:
    """Equal policies, of which one is longer, before a judge who takes the longer one three times in four."""
    rng = np.random.default_rng(1)
    rows = []
    for i in range(400):
        texts = {"response_a": "x" * int(rng.normal(220, 60)), "response_b": "y" * int(rng.normal(180, 60))}
        a_longer = len(texts["response_a"]) > len(texts["response_b"])
        rows.append(row(i, "a" if (rng.random() < 0.75) == a_longer else "b") | texts)
    one = found_in(tmp_path, rows)["judges"]["judge"]
    new = one["policies"]["new"]
    assert new["win_rate"]["low"] > 0.5
    assert new["length_controlled"]["low"] < 0.5 < new["length_controlled"]["high"]
    assert new["length_effect"]["low"] > 0.5
    assert one["baselines"]["longest"]["value"] == pytest.approx(0.75, abs=0.05)
    assert one["ratings"]["new"]["low"] > ANCHOR
    assert one["style_ratings"]["new"]["low"] < ANCHOR < one["style_ratings"]["new"]["high"]
    assert one["style"]["length"]["low"] > 0
    assert list(one["style"]) == ["length"]  # no Markdown anywhere


def test_several_judges_and_their_agreement_by_hand(tmp_path: Path) -> None:
    """On four pairs: a a b tie and a b b tie. p_a = 3/4; shares (1/2, 1/4, 1/4) and (1/4, 1/2, 1/4): p_e = 5/16."""
    said = {"ann": ["a", "a", "b", "tie"], "ben": ["a", "b", "b", "tie"]}
    rows = [row(i, winner, judge=judge) for judge, own in said.items() for i, winner in enumerate(own)]
    found = found_in(tmp_path, [*rows, row(9, "a", judge="ann")])
    assert list(found["judges"]) == ["ann", "ben"]
    assert found["agreement"]["n"] == 4
    kappa = found["agreement"]["kappa"]
    assert kappa["value"] == pytest.approx((3 / 4 - 5 / 16) / (1 - 5 / 16))
    assert kappa["low"] < kappa["value"] < kappa["high"] == 1.0
    assert {*found["agreement"]} == {"n", "alpha", "ac1", "kappa"}
    assert found["judges"]["ann"]["n"] == 5


def test_three_policies_and_those_who_never_met(tmp_path: Path) -> None:
    rows = [row(i, "a" if i % 3 else "b") for i in range(30)] + [row(i, "b", "old", "third") for i in range(10)]
    one = found_in(tmp_path, rows)["judges"]["judge"]
    assert one["one_sided"] == ["third"]
    assert next(iter(one["ratings"])) == "third"
    assert set(one["policies"]) == {"new", "third"}
    apart = [*rows, row(1, "a", "fourth", "fifth")]
    with pytest.raises(UserError, match="never compared with one another: fifth, fourth; new, old, third"):
        found_in(tmp_path, apart)


def test_one_difference_in_length_alone(tmp_path: Path) -> None:
    rows = [row(i, "a" if i % 2 else "b") | {"response_a": "long", "response_b": "no"} for i in range(10)]
    new = found_in(tmp_path, rows)["judges"]["judge"]["policies"]["new"]
    assert new["length_controlled"] is None
    ties = found_in(tmp_path, [row(i, "tie") for i in range(10)])["judges"]["judge"]
    assert ties["baselines"] == {}
    assert ties["policies"]["new"]["win_rate"]["value"] == 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"winner": "c"}, r"1:winner: is not a, b, tie, one of the two policies"),
        ({"winner": 1.5}, r"1:winner: is not a, b"),
        ({"winner": None}, r"1:winner: is missing"),
        ({"winner": True}, r"1:winner: is not a, b"),
        ({"policy_b": "new"}, r"1:policy_b: is 'new', which is policy_a, too"),
        ({"response_a": 3}, r"1:response_a: a text is wanted, not a number"),
    ],
)
def test_wrong_rows_are_told_with_their_place(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        found_in(tmp_path, [row(1, "a") | change])
    left_out = found_in(tmp_path, [row(1, "a") | change, row(2, "b")])["left_out"]
    assert left_out["num_rows"] == 1
    assert ":1:" in left_out["first"]


def test_the_files_own_columns(tmp_path: Path) -> None:
    rows = [{("verdict" if name == "winner" else name): value for name, value in row(i, "a").items()} for i in range(3)]
    source = write(tmp_path / "own.jsonl", rows)
    assert evaluate_judged(source, {"winner": "verdict"})["judges"]["judge"]["n"] == 3
    with pytest.raises(UserError, match="'winer' is no column of judged pairs"):
        evaluate_judged(source, {"winer": "verdict"})
    with pytest.raises(UserError, match=r"own\.jsonl:1:winner: is missing"):
        evaluate_judged(source, {})


def test_style_is_counted_outside_code() -> None:
    text = "# One\n\n- **two** and __three__\n1. four\n```\n# five\n- six\n```\n"
    assert style_of(text) == {"length": len(text), "headings": 1, "bold": 2, "lists": 2}
    assert style_of("5 * 3 ** 2 #not") == {"length": 15, "headings": 0, "bold": 0, "lists": 0}
