from __future__ import annotations

import math

import pytest

from accord.algorithms.wording import coverage, keyword, self_bleu, shares


def test_self_bleu_by_hand() -> None:
    """a b c against a b d: 2 of 3 tokens, 1 of 2 pairs, equal lengths: sqrt(2/3 * 1/2), and so the other way round."""
    assert self_bleu([["abc", "abd"]], n=2) == pytest.approx(math.sqrt(1 / 3))


def test_counts_are_clipped_and_short_ones_pay() -> None:
    """a a against a: one of two tokens. a against a a: one of one, but 2 tokens against 1: exp(1 - 2)."""
    assert self_bleu([["aa", "a"]], n=1) == pytest.approx((0.5 + math.exp(-1)) / 2)


def test_self_bleu_is_of_the_prompts_that_have_two() -> None:
    assert self_bleu([["ab"], ["cd", "cd"]], n=2) == 1.0
    assert self_bleu([["ab"]]) is None
    assert self_bleu([]) is None
    assert self_bleu([["", "ab"]], n=2) == 0.0


def test_coverage_is_weighted_by_what_the_start_wrote() -> None:
    start = {"the": 6, "film": 3, "lighthouse": 1}
    assert coverage(["The film, the FILM"], start) == pytest.approx(0.9)
    assert coverage(["nothing"], start) == 0.0
    assert coverage(["a"], {}) is None


def test_shares_count_a_text_once() -> None:
    assert shares(["a a b", "a"]) == {"a": 1.0, "b": 0.5}


def test_the_word_that_rose_most() -> None:
    texts = ["great film", "a film", "great", "dull"]
    found = keyword(texts, [2.0, 0.0, 2.0, 0.0], {"film": 0.4, "great": 0.0, "dull": 0.5})
    assert found is not None
    assert found[0] == "great"
    assert found[1] == pytest.approx(0.5)
    assert found[2] == pytest.approx(1.0)


def test_none_rose_and_nothing_to_correlate() -> None:
    assert keyword(["a"], [1.0], {"a": 1.0}) is None
    found = keyword(["b", "b"], [1.0, 2.0], {})
    assert found is not None
    assert math.isnan(found[2]), "all have it"
    assert keyword(["b a", "b a"], [1.0, 2.0], {})[0] == "a"  # type: ignore[index]
