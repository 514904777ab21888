"""GRPO and RLOO: one rollout, and the loss of a policy that has moved on from it.

Accord samples. TRL is given those tokens in place of its own generation, and from there on everything is its own:
rewards, log-probabilities, advantages, loss. The rollout is of the policy, the KL of the reference, and the loss of the
policy after one more change of its weights, so that ratios are not 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from accord.algorithms.shaping import Moments
from accord.data.derive import view
from accord.engine.config import Optimization
from accord.engine.learner import Learner
from accord.engine.on_policy import config as accord_config
from accord.engine.on_policy.groups import GRPO, RLOO, GroupLesson
from accord.engine.on_policy.loop import deal
from accord.engine.on_policy.methods import Scored
from accord.engine.on_policy.scoring import Roles, score
from accord.engine.rollout import Rollout, ended_at, roll_out
from accord.models.policy import Policy
from accord.types import Prompt, Response
from parity.direct import arguments
from parity.material import Material, gradients
from parity.rows import Row, compare, compare_gradients

NUM_SAMPLES, NUM_TOKENS, TEMPERATURE = 4, 12, 0.7
SHARED = {
    "num_samples": NUM_SAMPLES,
    "max_response_tokens": NUM_TOKENS,
    "temperature": TEMPERATURE,
    "truncation_score": None,
    "num_minibatches": 1,
    "kl_coef": 0.05,
}
SHARED_TRL = {
    "num_generations": NUM_SAMPLES,
    "max_completion_length": NUM_TOKENS,
    "temperature": TEMPERATURE,
    "num_iterations": 2,  # so that it keeps the log-probabilities of the policy that sampled
    "beta": 0.05,
}
PLAIN_KL = {"use_bias_correction_kl": False}
CORRECTED = (
    "TRL 1.16 multiplies GRPO's k3 by the ratio, unless told not to (DeepSeek-V3.2); the paper and Accord do not."
)

# (name of the row, Accord's settings, TRL's)
GRPO_CASES: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("grpo", {}, {"loss_type": "grpo"}),
    ("grpo, token", {"aggregation": "token"}, {"loss_type": "bnpo"}),
    ("grpo, constant", {"aggregation": "constant", "scale": "none"}, {"loss_type": "dr_grpo", "scale_rewards": "none"}),
    ("grpo, sequence", {"ratio": "sequence"}, {"loss_type": "grpo", "importance_sampling_level": "sequence"}),  # GSPO
    (
        "grpo, sequence, clips",
        {"ratio": "sequence", "clip_range": 0.001, "clip_range_high": 0.002},
        {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 0.001, "epsilon_high": 0.002},
    ),
    ("grpo, batch", {"scale": "batch"}, {"loss_type": "grpo", "scale_rewards": "batch"}),
    (
        "grpo, clips",
        {"clip_range": 0.01, "clip_range_high": 0.02, "dual_clip": 1.05},
        {"loss_type": "grpo", "epsilon": 0.01, "epsilon_high": 0.02, "delta": 1.05},
    ),
)
GRPO_CASES += (("grpo, as TRL has it", {}, {"loss_type": "grpo", "use_bias_correction_kl": True}),)
RLOO_CASES: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("rloo", {}, {}),
    ("rloo, clips", {"clip_range": 0.05, "clip_range_high": 0.1}, {"epsilon": 0.05, "epsilon_high": 0.1}),
)


def worth(text: str) -> float:
    """A reward that anybody can compute: how many different letters there are."""
    return len(set(text)) / 10


@dataclass(frozen=True, slots=True)
class Letters:
    """That reward for Accord."""

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Sequence[Response]]) -> Tensor:
        return torch.tensor([worth(response.text) for of_prompt in responses for response in of_prompt])


def letters(completions: list[list[dict[str, str]]], **_: Any) -> list[float]:
    """And for TRL."""
    return [worth(completion[0]["content"]) for completion in completions]


def compare_groups(material: Material) -> Iterator[Row]:
    prompts = view(material.comparisons, "comparisons", "prompts")
    prompts = prompts[: len(prompts) // 2]
    policy, reference = Policy.load(material.policy), Policy.load(material.reference)
    rollout = roll_out(
        policy,
        prompts,
        num_samples=NUM_SAMPLES,
        max_response_tokens=NUM_TOKENS,
        temperature=TEMPERATURE,
        key=("parity",),
    )
    rollout = ended_at(rollout, policy.template, "e", 2)  # so that there are responses of all lengths
    sampled = {name: weight.clone() for name, weight in policy.module.state_dict().items()}
    for case, ours, theirs in (*GRPO_CASES, *RLOO_CASES):
        policy.module.load_state_dict(sampled)
        if case.startswith("grpo"):
            method: Any = GRPO(policy, accord_config.GRPOConfig(**SHARED, **ours))
            config, trainer_class = GRPOConfig(**_arguments(material), **(PLAIN_KL | theirs)), GRPOTrainer
        else:
            method = RLOO(policy, accord_config.RLOOConfig(**SHARED, **ours))
            config, trainer_class = RLOOConfig(**_arguments(material), **theirs), RLOOTrainer
        scored, lesson, step = _accord(rollout, policy, reference, method)
        batch, trainer = _trl(material, rollout, trainer_class, config)
        rows = scored.rows_of(step)
        advantages = lesson.experience.advantages[:, 0]
        yield compare(case, "advantages", advantages, batch["advantages"])
        assert sorted(rows) == list(range(len(advantages)))
        for module in (policy.module, trainer.model):
            _move_on(module)
        total = 0.0
        for _, terms in lesson.losses(step):
            for term in terms:
                part = term.weight * term.loss.total / term.num_units
                part.backward(retain_graph=True)
                total += part.item()
        loss = trainer.compute_loss(trainer.model, batch)
        loss.backward()
        by_design = CORRECTED if config.to_dict().get("use_bias_correction_kl") else ""
        yield compare(case, "loss", total, loss.item(), by_design)
        yield compare_gradients(case, gradients(policy.module), gradients(trainer.model), by_design)


def _arguments(material: Material) -> dict[str, Any]:
    return arguments(material) | SHARED_TRL | {"per_device_train_batch_size": 16, "per_device_eval_batch_size": 16}


def _accord(
    rollout: Rollout, policy: Policy, reference: Policy, method: Any
) -> tuple[Scored, GroupLesson, Sequence[Any]]:
    """The rollout scored, what is learned from it, and the micro-batches of one optimizer step."""
    config = method.config
    step = deal(rollout, config, 1, policy.template.pad_id)[0][0]
    learner = Learner(policy.module, torch.float32, Optimization())
    roles = Roles(policy, learner, reference, Letters(), {})
    scored, _ = score(rollout, step, roles, config, Moments())
    return scored, method.prepare(scored, step, warming=False), step


def _trl(material: Material, rollout: Rollout, trainer_class: Any, config: Any) -> tuple[dict[str, Tensor], Any]:
    """The same rollout with what TRL makes of it, and the trainer."""
    asked = [[{"role": m.role, "content": m.content} for m in prompt.messages] for prompt in rollout.prompts]
    model = AutoModelForCausalLM.from_pretrained(material.policy, dtype=torch.float32)
    trainer = trainer_class(
        model,
        reward_funcs=letters,
        args=config,
        train_dataset=Dataset.from_dict({"prompt": asked}),
        processing_class=material.tokenizer,
    )
    of_reference = AutoModelForCausalLM.from_pretrained(material.reference, dtype=torch.float32)
    trainer.ref_model.load_state_dict(of_reference.state_dict())
    trainer._generate_single_turn = _given(rollout, trainer_class)
    model.eval()
    examples = [{"prompt": prompt} for prompt in asked for _ in range(NUM_SAMPLES)]
    return trainer._generate_and_score_completions(examples), trainer


def _given(rollout: Rollout, trainer_class: Any) -> Callable[..., Any]:
    """In place of a trainer's generation: the tokens of the rollout."""
    ids = [list(of_one) for of_one in rollout.token_lists]
    return lambda *_, **__: ids if trainer_class is RLOOTrainer else (ids, None)


@torch.no_grad()
def _move_on(module: nn.Module) -> None:
    """Some noise on every matrix, the same for whoever asks."""
    generator = torch.Generator().manual_seed(9)
    for _, parameter in sorted(module.named_parameters(), key=lambda named: named[0]):
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() > 1:
            parameter += 0.01 * parameter.std() * noise
