"""Rules and orders on four responses, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from accord.algorithms.piecewise import Rule
from accord.evaluate.orders import order_table, pay

# An ordinary prompt's unsafe and safe response; a risky prompt's unsafe answer, which is helpful, and its refusal,
# which is not.
LOGITS = np.array([-3.0, 3.0, -3.0, 3.0])  # P(safe) is .047 or .953
HELPFUL = np.array([1.0, 1.0, 2.0, -2.0])  # P(helpful) of the refusal is .119
RISKY = np.array([False, False, True, True])
SAFE = np.array([False, True, False, True])
PROMPTS = np.array([0, 0, 1, 1])


def table(rule: Rule = "slide") -> dict[str, dict[str, object]]:
    rows = order_table(LOGITS, HELPFUL, RISKY, SAFE, PROMPTS, threshold=0.15, rule=rule, seed=1)
    return {f"{row['rule']}, {row['order']}": row for row in rows}


def whitened(values: list[float]) -> tuple[float, float]:
    """The mean of the unsafe ones and of the safe ones."""
    flat = np.array(values)
    found = (flat - flat.mean()) / flat.std()
    return float(found[~SAFE].mean()), float(found[SAFE].mean())


@pytest.mark.parametrize(
    ("rule", "order", "by_safety", "values"),
    [
        ("slide", "safety first", [False, False, True, False], [1, 1, -3, -2]),
        ("paper", "safety first", [True, False, True, True], [-3, 1, -3, 3]),
        ("threshold", "safety first", [True, False, True, False], [-3, 1, -3, -2]),
        # helpfulness where the prompt is ordinary and the response found unhelpful: none of these
        ("slide", "helpfulness first", [True, True, True, True], [-3, 3, -3, 3]),
    ],
)
def test_the_rules(rule: str, order: str, by_safety: list[bool], values: list[float]) -> None:
    row = table()[f"{rule}, {order}"]
    assert row["by_safety"] == np.mean(by_safety)
    unsafe, safe = whitened(values)
    assert row["unsafe"]["value"] == pytest.approx(unsafe)  # type: ignore[index]
    assert row["safe"]["value"] == pytest.approx(safe)  # type: ignore[index]
    assert (row["num"], row["unsafe"]["n"]) == (4, 2)  # type: ignore[index]


def test_with_helpfulness_first_the_papers_rule_rewards_unsafe_answers_and_punishes_refusals() -> None:
    row = table("paper")["paper, helpfulness first"]
    # ordinary prompts by helpfulness; of the risky one's responses the refusal, which is unhelpful
    assert row["by_safety"] == 0.25
    unsafe, safe = whitened([1, 1, -3, -2])
    assert row["unsafe"]["value"] == pytest.approx(unsafe)  # type: ignore[index]
    assert unsafe - safe > table("paper")["paper, safety first"]["unsafe"]["value"] - safe  # type: ignore[index,operator]


def test_a_kind_that_is_missing_is_none() -> None:
    (first, *_) = order_table(
        LOGITS[:2], HELPFUL[:2], RISKY[:2], np.array([True, True]), PROMPTS[:2], threshold=0.15, rule="slide", seed=1
    )
    assert first["unsafe"] is None
    assert first["safe"]["value"] == 0.0, "all rewards are alike, and whitened to 0"


@pytest.mark.parametrize(
    ("rule", "unsafe", "safe"),
    [
        ("slide", -3.0, (1.0 - 2.0) / 2),  # the risky prompt's unsafe answer; both safe ones are paid for helpfulness
        ("paper", -3.0, 1.0),  # both unsafe ones; the refusal is paid for safety
        ("threshold", -3.0, (1.0 - 2.0) / 2),
    ],
)
def test_what_unsafe_and_safe_responses_are_paid(rule: Rule, unsafe: float, safe: float) -> None:
    found = pay(LOGITS, HELPFUL, RISKY, SAFE, threshold=0.15, rule=rule, scale="logit")
    assert found == {"unsafe": unsafe, "safe": safe, "num_unsafe": 1 if rule == "slide" else 2}


def test_what_an_unsafe_response_would_be_paid_at_most_and_probabilities() -> None:
    found = pay(LOGITS + 6, HELPFUL, RISKY, SAFE, threshold=0.15, rule="slide", scale="logit")
    assert found == {"unsafe": pytest.approx(np.log(0.15 / 0.85)), "safe": -0.5, "num_unsafe": 0}
    assert pay(LOGITS, HELPFUL, RISKY, SAFE, threshold=0.15, rule="slide", scale="probability") == {
        "unsafe": pytest.approx(0.0474259),
        "safe": pytest.approx((0.7310586 + 0.1192029) / 2),
        "num_unsafe": 1,
    }
    assert pay(LOGITS, HELPFUL, RISKY, ~SAFE & False, threshold=0.15, rule="slide", scale="logit") is None
