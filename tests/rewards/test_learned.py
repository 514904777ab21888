from __future__ import annotations

from pathlib import Path

import pytest
import torch

from accord.engine import scorer
from accord.models.scalar import Normalisation, ScalarModel
from accord.rewards.learned import LearnedReward
from accord.text.tree import TreeBatch
from accord.types import Message, Prompt, Response

INSTRUCTION = (Message("user", "Write one line of a film review."),)


@pytest.fixture
def reward(tiny_model: Path, tmp_path: Path) -> LearnedReward:
    ScalarModel.from_policy(tiny_model, seed=1).save(tmp_path, {}, Normalisation(0.5, 2.0))
    return LearnedReward.load(tmp_path, torch.float32)


def test_one_score_a_response_in_order(reward: LearnedReward) -> None:
    prompts = [Prompt("a", INSTRUCTION), Prompt("b", (Message("user", "Hello."),))]
    responses = [
        [Response("A warm film."), Response("A dull plot, and a long one.")],
        [Response("Hi."), Response("No.")],
    ]
    together = reward.score(prompts, responses)
    alone = [reward.score([p], [[r]])[0] for p, rs in zip(prompts, responses, strict=True) for r in rs]
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-5, rtol=0)
    assert len(set(together.tolist())) == 4


def test_a_wide_tree_is_read_in_parts(reward: LearnedReward) -> None:
    prompts = [Prompt("a", (Message("user", "Why?"),)), Prompt("b", (Message("user", "How so?"),))]
    responses = [[Response(" x" * n) for n in range(40, 80)], [Response(" y")]]
    trees = [reward.model.template.scored_tree(prompt, some) for prompt, some in zip(prompts, responses, strict=True)]
    assert trees[0].num_tokens > scorer.MAX_TOKENS
    with torch.no_grad():
        whole = reward.normalisation.gain * (
            reward.model.scores(TreeBatch.from_trees(trees)) - reward.normalisation.offset
        )
    told: list[int] = []
    torch.testing.assert_close(reward.score(prompts, responses, told.append), whole)
    assert len(told) > 1
    assert sum(told) == 2


def test_a_prefill_is_part_of_the_turn(reward: LearnedReward) -> None:
    """Also where the whole text is tokenized otherwise than prefill and response apart."""
    for opening, rest in (("The acting", " is warm."), ("The act", "ing is warm.")):
        given = reward.score([Prompt("a", INSTRUCTION, opening)], [[Response(rest)]])
        whole = reward.score([Prompt("a", INSTRUCTION)], [[Response("The acting is warm.")]])
        torch.testing.assert_close(given, whole)


def test_an_unfinished_response_is_scored_at_an_end_of_turn(reward: LearnedReward) -> None:
    prompt = Prompt("a", INSTRUCTION)
    cut, ended = reward.score([prompt], [[Response("A warm", finished=False), Response("A warm")]])
    torch.testing.assert_close(cut, ended)
