"""Prompts one after the other: places, and where each one's tokens are."""

from __future__ import annotations

from accord.text.prompts import PromptBatch

PROMPTS = [(1, 2, 3, 4, 5, 6), (7, 8), (9,), (10, 11, 12)]


def test_the_shortest_come_first_and_starts_are_of_the_prompts_as_given() -> None:
    batch = PromptBatch.of(PROMPTS)
    assert batch.ids.tolist() == [9, 7, 8, 10, 11, 12, 1, 2, 3, 4, 5, 6]
    assert batch.positions.tolist() == [0, 0, 1, 0, 1, 2, 0, 1, 2, 3, 4, 5]
    assert batch.starts == (6, 1, 0, 3)
    assert batch.lengths == (6, 2, 1, 3)


def test_a_prompt_sees_its_own_earlier_tokens() -> None:
    (product,) = PromptBatch.of(PROMPTS).products
    seen = {
        (int(query), int(key))
        for queries, keys, visible in zip(product.queries, product.keys, product.visible, strict=True)
        for query, row in zip(queries, visible, strict=True)
        for key, there in zip(keys, row, strict=True)
        if there
    }
    prompts = ([0], [1, 2], [3, 4, 5], [6, 7, 8, 9, 10, 11])
    assert seen == {(query, key) for places in prompts for query in places for key in places if key <= query}
    assert PromptBatch.of(PROMPTS).mean_width == 4 * 6 * 6 / 12  # all four as the longest


def test_the_tokens_of_some_prompts() -> None:
    batch = PromptBatch.of(PROMPTS)
    assert batch.ids[batch.token_places([0, 1, 1, 3])].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 7, 8, 10, 11, 12]
