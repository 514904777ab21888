"""What becomes of scores, and what of a rollout is logged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from accord.algorithms.shaping import Moments
from accord.engine.on_policy.config import RolloutConfig
from accord.engine.on_policy.scoring import metrics_of, shape
from accord.engine.rollout import ended_at
from accord.errors import UserError
from tests.fixtures.on_policy import CONFIG, PROMPTS, Scores, make_ppo, make_roles, make_rollout, prepare, some_finished

SCORES = torch.tensor([1.0, 5.0, -2.0, 0.0])
FINISHED = torch.tensor([True, False, True, False])
ALL = torch.ones(4, dtype=torch.bool)


def shaped(
    config: RolloutConfig, kept: torch.Tensor = ALL, moments: Moments | None = None
) -> tuple[list[float], Moments]:
    scores, moments = shape(SCORES, FINISHED, kept, config, moments or Moments())
    return scores.tolist(), moments


def test_unfinished_responses_get_the_fixed_score_or_lose_the_penalty() -> None:
    assert shaped(RolloutConfig(truncation_score=-3.0))[0] == [1.0, -3.0, -2.0, -3.0]
    assert shaped(RolloutConfig(truncation_score=None))[0] == SCORES.tolist()
    assert shaped(RolloutConfig(truncation_score=None, truncation_penalty=2.0))[0] == [1.0, 3.0, -2.0, -2.0]
    assert shaped(RolloutConfig(truncation_score=-3.0, truncation_penalty=2.0))[0] == [1.0, -5.0, -2.0, -5.0]


def test_scores_are_normalised_after_that_and_clipped_last() -> None:
    """Of 1, -3, -2, 0: mean -1, variance (4 + 4 + 1 + 1) / 4 = 2.5."""
    config = RolloutConfig(truncation_score=None, score_normalisation="batch")
    scores = torch.tensor([1.0, -3.0, -2.0, 0.0])
    found, _ = shape(scores, FINISHED, ALL, config, Moments())
    torch.testing.assert_close(found, torch.tensor([2.0, -2.0, -1.0, 1.0]) / 2.5**0.5)
    config = config.model_copy(update={"score_clip": 1.0})
    found, _ = shape(scores, FINISHED, ALL, config, Moments())
    torch.testing.assert_close(found, torch.tensor([1.0, -1.0, -1 / 2.5**0.5, 1 / 2.5**0.5]))


def test_running_normalisation_is_over_all_rollouts_so_far() -> None:
    """After 1, 5, -2, 0 (mean 1): the same again leaves mean and variance, (0 + 16 + 9 + 1) / 4 = 6.5."""
    config = RolloutConfig(truncation_score=None, score_normalisation="running")
    first, moments = shaped(config)
    assert (moments.num, moments.mean, moments.variance) == (4, 1.0, 6.5)
    second, moments = shaped(config, moments=moments)
    assert moments.num == 8
    assert second == pytest.approx(first)
    batch = config.model_copy(update={"score_normalisation": "batch"})
    _, other = shaped(batch, moments=Moments(100, 50.0, 3.0))
    assert other.num == 4, "the batch alone"


def test_masked_responses_are_in_no_statistic() -> None:
    """Of 1 and -2 alone: mean -0.5, variance 2.25."""
    config = RolloutConfig(truncation_score=None, score_normalisation="batch", mask_truncated=True)
    found, _ = shaped(config, kept=FINISHED)
    assert [found[0], found[2]] == pytest.approx([1.0, -1.0])


def test_masked_responses_give_no_gradient_and_others_do(tiny_model: Path) -> None:
    roles = make_roles(tiny_model)
    config = CONFIG.model_copy(update={"mask_truncated": True})
    rollout = some_finished(make_rollout(roles, config))
    scored, _, dealt = prepare(roles, make_ppo(roles, tiny_model, config), config, rollout)
    assert scored.kept.tolist() == rollout.finished
    assert torch.equal(scored.learned.any(dim=1), scored.kept)
    assert torch.equal(scored.learned[scored.kept], scored.mask[scored.kept])
    rows = scored.rows_of(dealt[0][0])
    prompts = [i for micro in dealt[0][0] for i in micro.indices]
    assert rows == [3 * i + k for i in prompts for k in range(3)]


@pytest.mark.parametrize("finished", [True, False])
def test_masked_responses_are_in_no_mean_of_what_is_trained_on(tiny_model: Path, finished: bool) -> None:
    """Finished ones score 1, and others 0, which -1 would replace. With none left the mean is 0, whatever scales it."""
    roles = replace(make_roles(tiny_model), reward=Scores(lambda response: float(response.finished)))
    normalisation = "none" if finished else "running"
    config = CONFIG.model_copy(update={"mask_truncated": True, "score_normalisation": normalisation})
    rollout = make_rollout(roles, config)
    method = make_ppo(roles, tiny_model, config)
    scored, lesson, _ = prepare(roles, method, config, some_finished(rollout) if finished else rollout)
    assert metrics_of(scored, [])["objective/shaped_scores"] == float(finished)
    assert lesson.metrics([])["objective/rlhf_reward"] == float(finished)


def test_the_mismatch_of_sampler_and_learner_is_measured(tiny_model: Path) -> None:
    """A sampler that gave one token's logprob 0.5 too high, in a rollout of N tokens."""
    roles = make_roles(tiny_model)
    rollout = make_rollout(roles, CONFIG)
    exact, _, _ = prepare(roles, make_ppo(roles, tiny_model, CONFIG), CONFIG, rollout)
    assert metrics_of(exact, [])["sampler/mismatch_max"] < 1e-4
    first, *others = rollout.sampler_logprobs
    wrong = ((first[0][0] + 0.5, *first[0][1:]), *first[1:])
    rollout = replace(rollout, sampler_logprobs=(wrong, *others))
    scored, _, _ = prepare(roles, make_ppo(roles, tiny_model, CONFIG), CONFIG, rollout)
    row, num = metrics_of(scored, []), sum(rollout.num_tokens)
    assert row["sampler/mismatch_max"] == pytest.approx(0.5, abs=1e-4)
    assert row["sampler/mismatch_per_token"] == pytest.approx(0.5 / num, abs=1e-4)
    assert row["sampler/mean_ratio"] == pytest.approx((num - 1 + 0.60653) / num, abs=1e-4)  # exp(-0.5)


def test_perplexities_are_of_all_response_tokens(tiny_model: Path) -> None:
    """Two responses of two tokens and of one. Policy: p of 1/2, 1/4, 1/8: exp(log(2 * 4 * 8) / 3) = 64^(1/3) = 4.
    Reference: 1/4, 1/4, 1/32: 512^(1/3) = 8. A mean over responses would say 2.83 * 8 and so on; padding is in none."""
    roles = make_roles(tiny_model)
    config = CONFIG.model_copy(update={"num_samples": 1})
    rollout = make_rollout(roles, config, prompts=PROMPTS[:2])
    scored, _, _ = prepare(roles, make_ppo(roles, tiny_model, config), config, rollout)
    mask = torch.tensor([[True, True], [True, False]])
    scored = replace(
        scored,
        mask=mask,
        logprobs=torch.tensor([[0.5, 0.25], [0.125, 1e-30]]).log(),
        reference_logprobs=torch.tensor([[0.25, 0.25], [0.03125, 1e-30]]).log(),
        sampler_logprobs=torch.zeros(2, 2),
    )
    row = metrics_of(scored, [])
    assert row["response/perplexity"] == pytest.approx(4)
    assert row["response/reference_perplexity"] == pytest.approx(8)


def test_padding_is_in_no_mean(tiny_model: Path) -> None:
    """Entropy, KL and mismatch of responses that differ in length are those of each response by itself."""
    roles = make_roles(tiny_model, moved=True)
    config = CONFIG.model_copy(update={"num_samples": 1, "end_at": "e"})
    rollout = ended_at(make_rollout(roles, config), roles.policy.template, "e", 0)
    assert len(set(rollout.num_tokens)) > 1, "no padding to speak of"
    method = make_ppo(roles, tiny_model, config)
    whole, _, _ = prepare(roles, method, config, rollout)
    entropy = kl = 0.0
    for i, num in enumerate(rollout.num_tokens):
        one = replace(
            rollout,
            prompts=rollout.prompts[i : i + 1],
            responses=rollout.responses[i : i + 1],
            trees=rollout.trees[i : i + 1],
            sampler_logprobs=rollout.sampler_logprobs[i : i + 1],
        )
        alone = metrics_of(prepare(roles, method, config, one)[0], [])
        entropy += alone["objective/entropy"] * num / sum(rollout.num_tokens)
        kl += alone["objective/kl"] / len(rollout.num_tokens)
    row = metrics_of(whole, [])
    assert row["objective/entropy"] == pytest.approx(entropy, rel=1e-4)
    assert row["objective/kl"] == pytest.approx(kl, rel=1e-3)


@pytest.mark.parametrize("truncation_score", [None, -1.0])
def test_a_score_that_is_no_number_ends_the_run(tiny_model: Path, truncation_score: float | None) -> None:
    """Even one that would be replaced."""
    config = CONFIG.model_copy(update={"truncation_score": truncation_score})
    roles = replace(make_roles(tiny_model), reward=Scores(lambda response: float("nan")))
    with pytest.raises(UserError, match=r"the KL or a score is not finite: .*\n  Lower the learning rate, or look at"):
        prepare(roles, make_ppo(roles, tiny_model, config), config, make_rollout(roles, config))
