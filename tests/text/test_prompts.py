"""Prompts one after the other: places, groups, and where each one's tokens are."""

from __future__ import annotations

from accord.text.prompts import PromptBatch

PROMPTS = [(1, 2, 3, 4, 5, 6), (7, 8), (9,), (10, 11, 12)]


def test_the_shortest_come_first_and_starts_are_of_the_prompts_as_given() -> None:
    batch = PromptBatch.of(PROMPTS, pad_id=0)
    assert batch.ids.tolist() == [9, 0, 0, 0, 7, 8, 0, 0, 10, 11, 12, 0, 1, 2, 3, 4, 5, 6, 0, 0]
    assert batch.positions.tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 2, 0, 0, 1, 2, 3, 4, 5, 0, 0]
    assert batch.starts == (12, 4, 0, 8)
    assert batch.lengths == (6, 2, 1, 3)
    assert [(group.start, *group.visible.shape) for group in batch.groups] == [(0, 3, 4, 4), (12, 1, 8, 8)]
    assert batch.groups[0].visible[2].tolist() == [[j <= i for j in range(4)] for i in range(4)]


def test_the_tokens_of_some_prompts() -> None:
    batch = PromptBatch.of(PROMPTS, pad_id=0)
    assert batch.ids[batch.token_places([0, 1, 1, 3])].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 7, 8, 10, 11, 12]
