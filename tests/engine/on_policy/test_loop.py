"""The loop: minibatches, micro-batches, prompts, averages, ends; each with a method of its own or PPO."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from accord.engine.on_policy.drawing import deal
from accord.engine.on_policy.loop import _prompt_batches, check_num_prompts, shown, update
from accord.engine.on_policy.methods import POLICY, Trainee
from accord.engine.on_policy.pretraining import Pretraining
from accord.engine.scorer import flat_like, padded, per_branch, per_token
from accord.errors import UserError
from accord.evaluate.policies import observe
from accord.text.batching import micro_batches
from accord.text.tree import Branch, Tree, TreeBatch, flatten
from tests.fixtures.dropout import model_with_dropout
from tests.fixtures.on_policy import (
    CONFIG,
    PROMPTS,
    learn,
    make_ppo,
    make_roles,
    make_rollout,
    make_shared_ppo,
    prepare,
    some_finished,
)


def test_padded_and_flat_are_inverse() -> None:
    trees = [
        Tree((1,), (Branch((2, 3, 4)), Branch((5,)))),
        Tree((1, 1), (Branch((6,)), Branch((7, 8)))),
        Tree((1,), (Branch((9, 10)), Branch((11, 12, 13, 14)))),
    ]
    micros = micro_batches(trees, 12)
    assert len(micros) > 1
    values, mask = padded(micros, per_token(micros, lambda batch: batch.targets.float()), trees)
    assert [row[keep].tolist() for row, keep in zip(values, mask, strict=True)] == [
        [2, 3, 4], [5], [6], [7, 8], [9, 10], [11, 12, 13, 14]
    ]  # fmt: skip
    for micro in micros:
        assert flat_like(micro, values, trees).tolist() == micro.batch.targets.tolist()


def test_per_branch_keeps_the_order_of_the_trees() -> None:
    trees = [Tree((1,), tuple(Branch((10 * n + k,) * n) for k in range(2))) for n in (3, 1, 2)]
    got = per_branch(trees, lambda b: b.ids.flatten()[b.last_rows].float(), max_tokens=8)
    assert [t.tolist() for t in got] == [[30, 31], [10, 11], [20, 21]]


def test_per_branch_tells_trees_as_they_are_read() -> None:
    """A tree of three parts and one of one, all of 1 + 3 tokens: a fourth of what there is each time."""
    trees = [Tree((1,), tuple(Branch((2, 3, 4)) for _ in range(3))), Tree((1,), (Branch((5, 6, 7)),))]
    told: list[int] = []
    per_branch(trees, lambda b: b.ids.flatten()[b.last_rows].float(), max_tokens=4, advance=told.append)
    assert told == [0, 1, 0, 1]


@pytest.mark.parametrize("shared", [False, True])
def test_the_kl_to_itself_is_zero_and_the_first_ratio_one(tiny_model: Path, shared: bool) -> None:
    roles = make_roles(tiny_model)
    config = CONFIG.model_copy(update={"num_epochs": 2, "temperature": 0.7})
    method = make_ppo(roles, tiny_model, config)
    if shared:
        roles, method = make_shared_ppo(roles, config)
    scored, lesson, dealt = prepare(roles, method, config, make_rollout(roles, config))
    assert scored.kl == 0
    assert torch.equal(scored.logprobs, scored.reference_logprobs)
    reports = learn(roles, method, lesson, dealt)
    ratios = [report[POLICY].metrics["ratio"] for report in reports]
    assert len(ratios) == 4
    assert ratios[0] == 1.0
    assert ratios[1] != 1.0
    assert reports[0][POLICY].metrics["approx_kl"] == 0


def test_the_kl_to_another_reference_is_what_the_two_models_say(tiny_model: Path) -> None:
    """Whoever starts from another policy than the reference sees so in the first row."""
    roles = make_roles(tiny_model, moved=True)
    scored, _, _ = prepare(roles, make_ppo(roles, tiny_model, CONFIG), CONFIG, make_rollout(roles, CONFIG))
    total = 0.0
    for tree in scored.rollout.trees:
        for response in flatten(tree):  # each by itself, without padding
            batch = TreeBatch.from_trees([response])
            with torch.no_grad():
                ours, theirs = (model.token_logprobs(batch).logprobs for model in (roles.policy, roles.reference))
            total += float((ours - theirs).sum())
    assert scored.kl == pytest.approx(total / scored.rollout.num_sequences, abs=1e-4)
    assert abs(scored.kl) > 0.01


def test_the_kl_of_the_start_is_the_one_that_evaluation_measures(tiny_model: Path) -> None:
    """On the same responses: the same key at temperature 1."""
    roles = make_roles(tiny_model, moved=True)
    rollout = make_rollout(roles, CONFIG, key=3)
    scored, _, _ = prepare(roles, make_ppo(roles, tiny_model, CONFIG), CONFIG, rollout)
    sizes = {"num_samples": CONFIG.num_samples, "max_response_tokens": CONFIG.max_response_tokens}
    outcome = observe(roles.policy, roles.reference, PROMPTS, {}, None, ending=CONFIG, key=(3,), **sizes)
    assert [text for of_prompt in outcome.texts for text in of_prompt] == [
        prompt.prefill + response.text
        for prompt, responses in zip(rollout.prompts, rollout.responses, strict=True)
        for response in responses
    ]
    assert scored.k1.sum(dim=1).numpy() == pytest.approx(outcome.kl.ravel(), abs=1e-4)
    assert scored.kl == pytest.approx(outcome.kl.mean(), abs=1e-4)
    assert abs(scored.kl) > 0.01


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_the_dropout_of_a_model_is_off_in_training(tiny_model: Path, tmp_path: Path, architecture: str) -> None:
    folder = model_with_dropout(tiny_model, tmp_path, architecture)
    roles = make_roles(folder)
    config = CONFIG.model_copy(update={"num_epochs": 2})
    method = make_ppo(roles, folder, config)
    scored, lesson, dealt = prepare(roles, method, config, make_rollout(roles, config))
    again, _, _ = prepare(roles, method, config, scored.rollout)
    assert torch.equal(again.logprobs, scored.logprobs)
    assert scored.kl == 0
    reports = learn(roles, method, lesson, dealt)
    assert reports[0][POLICY].metrics["ratio"] == 1.0
    assert reports[0][POLICY].metrics["approx_kl"] == 0
    after = [prepare(roles, method, config, scored.rollout)[0].logprobs for _ in range(2)]
    assert torch.equal(*after), "off after an optimizer step, too"
    assert not torch.equal(after[0], scored.logprobs)


def test_the_progress_line_shows_what_is_trained_on_where_it_differs() -> None:
    row = {"objective/scores": 0.51234, "objective/shaped_scores": -0.25, "objective/kl": 1.237}
    assert shown(row, {}) == {"score": 0.512, "trained": -0.25, "kl": 1.24}
    equal = row | {"objective/shaped_scores": 0.51234}
    assert shown(equal, {}) == {"score": 0.512, "kl": 1.24}
    assert shown(equal, shown(row, {})) == {"score": 0.512, "trained": 0.512, "kl": 1.24}  # not the one before


def test_minibatches_hold_every_prompt_once_an_epoch(tiny_model: Path) -> None:
    rollout = make_rollout(make_roles(tiny_model), CONFIG)
    epochs = deal(rollout, CONFIG.model_copy(update={"num_epochs": 3}), 0)
    orders = [[i for minibatch in epoch for micro in minibatch for i in micro.indices] for epoch in epochs]
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in orders)
    assert len({tuple(order) for order in orders}) > 1
    for epoch in epochs:
        for minibatch in epoch:
            for micro in minibatch:
                expected = [t for i in micro.indices for b in rollout.trees[i].branches for t in b.ids]
                assert micro.batch.targets.tolist() == expected


EXTRAS = {
    "entropy_coef": 0.1,
    "kl_in": "loss",
    "kl_estimator": "k2",
    "kl_coef": 0.3,
    "importance_cap": 1.5,
    "mask_truncated": True,
    "ptx_coef": 0.5,
}
EXAMPLES = [Tree((5, 6), (Branch((20, 21, 22)),)), Tree((7,), (Branch((40, 41)),))]


@pytest.mark.parametrize("shared", [False, True])
def test_the_micro_batch_size_does_not_change_the_update(tiny_model: Path, shared: bool) -> None:
    """Losses of different units in one optimizer step, some tokens masked: each is divided by its own count."""
    found = []
    for max_tokens in (1, 4096):
        roles = make_roles(tiny_model, moved=True)
        config = CONFIG.model_copy(update={"max_tokens": max_tokens, **EXTRAS})
        method = make_ppo(roles, tiny_model, config)
        if shared:
            roles, method = make_shared_ppo(roles, config)
        _, lesson, dealt = prepare(roles, method, config, some_finished(make_rollout(roles, config)))
        trainees = {POLICY: Trainee(roles.policy_learner, 1e-4), **method.trainees}
        beside = Pretraining(EXAMPLES, roles.policy, config, seed=1).of(0)
        reports = update(lesson, dealt, trainees, 1.0, beside)
        assert "ptx_loss" in reports[0][POLICY].metrics
        found.append((reports[0], roles.policy.head.detach().clone()))
    first, head = found[0]
    assert first[POLICY].grad_norm > 0
    for other, other_head in found[1:]:
        for name, report in first.items():
            assert other[name].grad_norm == pytest.approx(report.grad_norm, rel=1e-4)
            assert other[name].metrics == pytest.approx(report.metrics, rel=1e-4, abs=1e-5)
        torch.testing.assert_close(other_head, head, atol=2e-5, rtol=0)


def test_iterations_are_as_many_as_asked_for_with_full_batches() -> None:
    config = CONFIG.model_copy(update={"num_iterations": 10, "prompts_per_iteration": 4})
    assert [len(set(batch)) for batch in _prompt_batches(10, config, 0)] == [4] * 10
    with pytest.raises(UserError, match="takes 4 prompts, and there are 3"):
        check_num_prompts(3, config, "ppo")


def test_what_is_learned_beside_belongs_to_the_same_optimizer_step(tiny_model: Path) -> None:
    """The gradient is the lesson's plus ptx_coef times that of the examples' mean, each divided by its own tokens."""
    gradients: dict[str, torch.Tensor] = {}
    roles = make_roles(tiny_model)
    config = CONFIG.model_copy(update={"ptx_coef": 2.0, "ptx_examples": 0.4, "num_minibatches": 1})
    _, lesson, dealt = prepare(roles, make_ppo(roles, tiny_model, config), config, make_rollout(roles, config))
    learner = roles.policy_learner
    for name in ("policy", "ptx", "both"):
        for whose, terms in lesson.losses(dealt[0][0]) if name != "ptx" else ():
            if whose == POLICY:
                learner.add(*terms)
        (beside,) = Pretraining(EXAMPLES, roles.policy, config, seed=1).of(0)
        for term in beside if name != "policy" else ():
            learner.add(term)
        grad = roles.policy.module.get_parameter("model.layers.0.mlp.up_proj.weight").grad
        assert grad is not None
        gradients[name] = grad.clone()
        learner.step(0.0)
    torch.testing.assert_close(gradients["both"], gradients["policy"] + gradients["ptx"], atol=1e-6, rtol=1e-4)
    assert float(gradients["ptx"].norm()) > 0
