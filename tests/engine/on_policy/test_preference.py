"""Online DPO: pairs of samples, the loss on them, and a reference that follows."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from accord.algorithms.shaping import Moments
from accord.engine.config import Optimization
from accord.engine.learner import Learner, StepReport
from accord.engine.on_policy.config import OnlineDPOConfig
from accord.engine.on_policy.drawing import deal
from accord.engine.on_policy.loop import update
from accord.engine.on_policy.methods import POLICY, Scored, Trainee
from accord.engine.on_policy.preference import OnlinePreference, pairs_of
from accord.engine.on_policy.scoring import Roles, score
from accord.engine.rollout import Rollout, roll_out
from accord.models.attention import TreeAttention
from accord.models.lora import Lora
from accord.models.policy import Policy, hidden_states
from accord.text.prompts import PromptBatch
from accord.types import Message, Prompt, Response
from tests.fixtures.tiny_model import make_model

PROMPTS = [Prompt(f"p{i}", (Message("user", "Write one line."),), f"The {word}") for i, word in enumerate("abcde")]
CONFIG = OnlineDPOConfig(
    num_iterations=1,
    prompts_per_iteration=5,
    num_samples=3,
    max_response_tokens=7,
    max_tokens=64,
    num_minibatches=2,
    truncation_score=None,
    learning_rate=1e-3,
    beta=0.5,
)


class Table:
    """A reward that gives these scores, one after the other."""

    def __init__(self, *scores: float) -> None:
        self.scores = scores

    def score(self, prompts: object, responses: list[list[Response]], advance: object = None) -> Tensor:
        num = sum(len(of_prompt) for of_prompt in responses)
        return torch.tensor([self.scores[i % len(self.scores)] for i in range(num)])


def make_roles(folder: Path, *scores: float, reference: Path | None = None, lora: Lora | None = None) -> Roles:
    policy = Policy.load(folder)
    if lora is not None:
        policy.adapt(lora, folder, 0)
    learner = Learner(policy.module, torch.float32, Optimization(), policy.trained)
    apart = Policy.load(reference or folder) if lora is None or reference else policy.without_adapter()
    return Roles(policy, learner, apart, Table(*scores), {})


def make_rollout(roles: Roles, **options: float) -> Rollout:
    settings = {"num_samples": 3, "max_response_tokens": 7, "temperature": 1.0, **options}
    return roll_out(roles.policy, PROMPTS, key=(0,), **settings)  # type: ignore[arg-type]


def lesson_of(
    roles: Roles, config: OnlineDPOConfig, rollout: Rollout | None = None
) -> tuple[OnlinePreference, Scored, list[dict[str, StepReport]], dict[str, float]]:
    """One iteration: the method, the scored rollout, its reports and its metrics."""
    rollout = rollout or make_rollout(roles, temperature=config.temperature)
    minibatches = deal(rollout, config, 0)
    micros = [micro for minibatch in minibatches[0] for micro in minibatch]
    scored, _ = score(rollout, micros, roles, config, Moments())
    method = OnlinePreference(roles.policy, roles.reference, config)
    lesson = method.prepare(scored, micros, warming=False)
    trainees = {POLICY: Trainee(roles.policy_learner, config.learning_rate), **method.trainees}
    reports = update(lesson, minibatches, trainees, 1.0)
    return method, scored, reports, lesson.metrics(reports)


def weights(policy: Policy) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in policy.trained.items()}


def log_ratios(roles: Roles, rollout: Rollout) -> Tensor:
    """[S] of policy and reference, each response by itself."""
    found = []
    with torch.no_grad():
        for tree in rollout.trees:
            for branch in tree.branches:
                ids = torch.tensor([tree.prompt_ids + branch.ids])
                sums = []
                for policy in (roles.policy, roles.reference):
                    logits = _logits(policy, ids)[len(tree.prompt_ids) - 1 : -1]
                    sums.append(logits.log_softmax(-1)[torch.arange(len(branch.ids)), torch.tensor(branch.ids)].sum())
                found.append(sums[0] - sums[1])
    return torch.stack(found)


def _logits(policy: Policy, ids: Tensor) -> Tensor:
    width = ids.shape[1]
    layout = TreeAttention(PromptBatch.of([tuple(ids[0].tolist())]).products, torch.float32)
    rows = hidden_states(policy.backbone, ids, torch.arange(width)[None], layout)
    return rows @ policy.head.T


def test_at_the_reference_the_loss_is_log_2_and_rewards_are_0(tiny_model: Path) -> None:
    _, _, reports, row = lesson_of(make_roles(tiny_model, 0.1, 0.9, -0.5), CONFIG)
    first = reports[0][POLICY].metrics
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert first["rewards/chosen"] == pytest.approx(0, abs=1e-5)
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-5)
    assert len(reports) == 2
    assert row["loss"] == pytest.approx((first["loss"] + reports[1][POLICY].metrics["loss"]) / 2)
    assert row["pairs/num"] == 5
    assert row["pairs/num_tied_prompts"] == 0
    assert row["pairs/score_gap"] == pytest.approx(1.4)  # 0.9 + 0.5, in each of the prompts


def test_the_loss_by_hand(tiny_model: Path, tmp_path: Path) -> None:
    """Of one optimizer step: the mean over prompts of softplus(-beta (ratio(best) - ratio(worst)))."""
    roles = make_roles(tiny_model, 0.1, 0.9, -0.5, reference=make_model(tmp_path / "other", seed=3))
    rollout = make_rollout(roles)
    ratios = log_ratios(roles, rollout).view(5, 3)  # samples: middle, best, worst
    _, _, (report,), row = lesson_of(roles, CONFIG.model_copy(update={"num_minibatches": 1}), rollout)
    wanted = softplus(-0.5 * (ratios[:, 1] - ratios[:, 2])).mean()
    assert report[POLICY].metrics["loss"] == pytest.approx(float(wanted), rel=1e-4)
    assert row["rewards/chosen"] == pytest.approx(0.5 * float(ratios[:, 1].mean()), rel=1e-3)
    assert row["rewards/rejected"] == pytest.approx(0.5 * float(ratios[:, 2].mean()), rel=1e-3)
    # of all pairs, a prompt's mean: best > worst, best > middle, middle > worst
    roles = make_roles(tiny_model, 0.1, 0.9, -0.5, reference=tmp_path / "other")
    config = CONFIG.model_copy(update={"num_minibatches": 1, "pairs": "all"})
    _, _, (report,), row = lesson_of(roles, config, rollout)
    gaps = torch.stack([ratios[:, i] - ratios[:, j] for i, j in ((1, 2), (1, 0), (0, 2))])
    assert report[POLICY].metrics["loss"] == pytest.approx(float(softplus(-0.5 * gaps).mean()), rel=1e-4)
    assert row["pairs/num"] == 15


def test_the_best_becomes_likelier_and_the_worst_less_likely(tiny_model: Path) -> None:
    roles = make_roles(tiny_model, 0.1, 0.9, -0.5)
    rollout = make_rollout(roles)
    lesson_of(roles, CONFIG, rollout)
    ratios = log_ratios(roles, rollout).view(5, 3)
    assert float((ratios[:, 1] - ratios[:, 2]).min()) > 0
    assert float(ratios[:, 1].mean()) > 0 > float(ratios[:, 2].mean())


def test_micro_batches_change_nothing(tiny_model: Path) -> None:
    found = []
    for max_tokens in (1, 64, 4096):
        roles = make_roles(tiny_model, 0.1, 0.9, -0.5, 0.2)
        config = CONFIG.model_copy(update={"max_tokens": max_tokens, "num_minibatches": 1})
        _, _, reports, row = lesson_of(roles, config)
        found.append((row, reports[0][POLICY].grad_norm, weights(roles.policy)))
    for row, norm, after in found[1:]:
        assert row == pytest.approx(found[0][0], rel=1e-4, abs=1e-5)
        assert norm == pytest.approx(found[0][1], rel=1e-4)
        for name, weight in after.items():
            torch.testing.assert_close(weight, found[0][2][name], atol=1e-5, rtol=1e-4)


def test_where_all_scores_tie_nothing_is_learned(tiny_model: Path) -> None:
    roles = make_roles(tiny_model, 0.5)
    before = weights(roles.policy)
    _, _, reports, row = lesson_of(roles, CONFIG)
    assert (row["pairs/num"], row["pairs/num_tied_prompts"], row["pairs/score_gap"]) == (0, 5, 0)
    assert "loss" not in row
    assert reports == [{}, {}], "no optimizer step is taken"
    assert all(torch.equal(weight, before[name]) for name, weight in weights(roles.policy).items())


def test_a_prompt_that_ties_does_not_water_down_the_others(tiny_model: Path) -> None:
    """Of 5 prompts of 3, with 3 scores and 3 equal ones in turn, two tie."""
    tied = make_roles(tiny_model, 0.1, 0.9, -0.5, 0.5, 0.5, 0.5)
    config = CONFIG.model_copy(update={"num_minibatches": 1})
    rollout = make_rollout(tied)
    _, _, (report,), row = lesson_of(tied, config, rollout)
    assert row["pairs/num_tied_prompts"] == 2
    without = make_roles(tiny_model, 0.1, 0.9, -0.5)
    some = [0, 2, 4]
    smaller = Rollout(*(tuple(part[i] for i in some) for part in (
        rollout.prompts, rollout.responses, rollout.trees, rollout.sampler_logprobs)))  # fmt: skip
    _, _, (alone,), _ = lesson_of(without, config, smaller)
    assert report[POLICY].grad_norm == pytest.approx(alone[POLICY].grad_norm, rel=1e-4)
    assert report[POLICY].metrics == pytest.approx(alone[POLICY].metrics, rel=1e-4, abs=1e-5)


def test_unfinished_responses_by_their_own_score_by_a_fixed_one_and_not_at_all(tiny_model: Path) -> None:
    roles = make_roles(tiny_model, 0.1, 0.9, -0.5)
    rollout = make_rollout(roles)
    cut = [[replace(one, finished=k != 1) for k, one in enumerate(of_prompt)] for of_prompt in rollout.responses]
    rollout = replace(rollout, responses=tuple(map(tuple, cut)))  # the best is cut off

    def pairs(**settings: object) -> list[list[tuple[int, int]]]:
        config = CONFIG.model_copy(update=settings)
        micros = [m for minibatch in deal(rollout, config, 0)[0] for m in minibatch]
        return pairs_of(score(rollout, micros, roles, config, Moments())[0], config)

    assert pairs() == [[(1, 2)]] * 5
    assert pairs(truncation_score=-1.0) == [[(0, 1)]] * 5
    assert pairs(truncation_penalty=1.0) == [[(0, 2)]] * 5  # 0.9 - 1 lies between 0.1 and -0.5
    assert pairs(mask_truncated=True) == [[(0, 2)]] * 5
    assert pairs(tie_below=1.5) == [[]] * 5


def test_the_temperature_is_that_of_sampling(tiny_model: Path) -> None:
    roles = make_roles(tiny_model, 0.1, 0.9, -0.5)
    config = CONFIG.model_copy(update={"temperature": 0.5, "num_minibatches": 1})
    _, scored, (report,), _ = lesson_of(roles, config)
    chosen = scored.logprobs.sum(dim=1).view(5, 3)[:, 1].mean()
    assert report[POLICY].metrics["logps/chosen"] == pytest.approx(float(chosen), rel=1e-4)
    assert report[POLICY].metrics["loss"] == pytest.approx(math.log(2), abs=1e-4)


@pytest.mark.parametrize("loss", ["ipo", "simpo", "orpo"])
def test_other_losses(tiny_model: Path, loss: str) -> None:
    """IPO starts at (1 / (2 beta))^2 = 1; those without a reference have none, though the KL to it is logged."""
    config = CONFIG.model_copy(update={"loss": loss, "beta": None if loss == "orpo" else 0.5})
    _, scored, reports, row = lesson_of(make_roles(tiny_model, 0.1, 0.9, -0.5), config)
    if loss == "ipo":
        assert reports[0][POLICY].metrics["loss"] == pytest.approx(1.0, abs=1e-4)
    else:
        assert row["rewards/chosen"] < 0  # a log-probability, times beta
    assert scored.kl == 0


@pytest.mark.parametrize("adapted", [False, True])
def test_the_reference_follows_every_so_many_iterations(tiny_model: Path, adapted: bool) -> None:
    roles = make_roles(tiny_model, 0.1, 0.9, -0.5, lora=Lora(rank=2) if adapted else None)
    rollout = make_rollout(roles)
    method, scored, _, _ = lesson_of(roles, CONFIG.model_copy(update={"reference_every": 2}), rollout)
    method.after(scored)
    assert method.state() == ({}, {"num_done": 1, "moved": False})
    assert float(log_ratios(roles, rollout).abs().max()) > 0.01
    method.after(scored)
    assert float(log_ratios(roles, rollout).abs().max()) < 1e-4
    groups, state = method.state()
    assert state == {"num_done": 2, "moved": True}
    assert set(groups["reference"]) == set(roles.policy.trained)
    kept = {name: tensor.clone() for name, tensor in groups["reference"].items()}
    lesson_of(roles, CONFIG, rollout)  # the policy goes on, and the reference stays
    assert float(log_ratios(roles, rollout).abs().max()) > 0.01
    if adapted:
        assert not any(parameter.requires_grad for parameter in roles.reference.trained.values())

    class Saved:
        def tensors(self, group: str) -> dict[str, Tensor]:
            assert group == "reference"
            return kept

    fresh = make_roles(tiny_model, 0.1, lora=Lora(rank=2) if adapted else None)
    resumed = OnlinePreference(fresh.policy, fresh.reference, CONFIG.model_copy(update={"reference_every": 2}))
    resumed.load(Saved(), state)  # type: ignore[arg-type]
    groups, state = resumed.state()
    assert state == {"num_done": 2, "moved": True}
    assert all(torch.equal(tensor, kept[name]) for name, tensor in groups["reference"].items())


def test_with_adapters_a_reference_of_its_own_is_let_go(tiny_model: Path, tmp_path: Path) -> None:
    other = make_model(tmp_path / "other", seed=3)
    roles = make_roles(tiny_model, 0.1, 0.9, -0.5, reference=other, lora=Lora(rank=2))
    rollout = make_rollout(roles)
    method, scored, _, _ = lesson_of(roles, CONFIG.model_copy(update={"reference_every": 1}), rollout)
    method.after(scored)
    assert roles.reference.module is roles.policy.module
    assert float(log_ratios(roles, rollout).abs().max()) < 1e-4
