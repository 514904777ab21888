"""What settings of on-policy training do not go together, and what is hardly meant. Shared; not a step.

A step's check() takes those of its settings: `rollouts` of all, `policy_gradients` of PPO, RLOO and GRPO, `groups` of
the latter two, `values` of PPO. What has no effect is refused rather than passed over: who wrote it expects one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from accord.algorithms.kl import AdaptiveKL
from accord.engine.on_policy.config import OnPolicyConfig, PPOConfig, RolloutConfig
from accord.engine.on_policy.presets import PRESETS, PresetName
from accord.models.vocabulary import same_vocabulary
from accord.steps.alarmed import check_alarms
from accord.steps.base import Caution, Contradiction, PlannedStep
from accord.steps.ending import check_ending
from accord.steps.given import blamed, given
from accord.steps.judged import learning, slow_adapters
from accord.steps.reward_units import unfinished_unit
from accord.steps.sampled import check_engine

_MODELS = ("reward", "reward_model")  # kinds of step whose reward is a model
_PREFERRED_REACH = 2.0  # what an adaptive coefficient should be able to be multiplied by in a run


def several_samples(config: RolloutConfig) -> None:
    """Of a method that compares a prompt's responses: raises Contradiction where there is but one."""
    if config.num_samples < 2:
        what = "a response is compared with the prompt's other ones, and num_samples is 1"
        raise Contradiction("num_samples", what, "Set num_samples to 2 or more.")


def rollouts(step: PlannedStep) -> Iterator[Caution]:
    """Of the settings of every method that learns from its own samples."""
    config = step.config
    assert isinstance(config, RolloutConfig)
    if config.mask_truncated:
        for key, off in (("truncation_score", None), ("truncation_penalty", 0)):
            if given(config, key) and getattr(config, key) != off:
                what = f"unfinished responses are masked, so their {key.replace('_', ' ')} is seen by nobody"
                raise Contradiction(key, what, f"Leave out {key} or mask_truncated.")
    elif config.truncation_penalty and config.truncation_score is not None and not given(config, "truncation_score"):
        yield Caution(
            "truncation_penalty",
            f"an unfinished response first gets the score {config.truncation_score:g}, and then loses the penalty.",
            "Write `truncation_score: null` to subtract from its own score.",
        )
    check_ending(step)
    check_engine(step)
    check_alarms(step)
    if config.score_clip is not None and config.score_normalisation == "none":
        yield Caution(
            "score_clip",
            f"scores are held between -{config.score_clip:g} and {config.score_clip:g} in the units of the reward.",
            "Add `score_normalisation: running` for units of their spread.",
        )
    if config.num_minibatches > config.prompts_per_iteration:
        yield Caution(
            "num_minibatches",
            f"an iteration of {_count(config.prompts_per_iteration, 'prompt')} has that many minibatches at most, and "
            f"not {config.num_minibatches}.",
            "Lower num_minibatches, or raise prompts_per_iteration.",
        )
    num = config.num_policy_iterations
    if config.ema is not None and (left := config.ema**num) > 0.5:
        enough = int(0.1 ** (1 / num) * 1000) / 1000
        yield Caution(
            blamed(config, "ema"),
            f"in an average of decay {config.ema:g}, after {_count(num, 'iteration')} still "
            f"{100 * left:.0f} % of what is kept is the policy that training started from.",
            f"Set ema to {enough:g} or less, or run more iterations.",
        )
    yield from _pretraining(step, config)
    if config.staleness and num < 2:
        what = "a first rollout is never behind, and there is no second one from which the policy learns"
        raise Contradiction("staleness", what, "Raise num_iterations, or leave out staleness.")
    if given(config, "watch_every") and not step.parents["watch"]:
        yield Caution("watch_every", "no reward watches, however often.", "Name one as `watch`, or leave it out.")
    if any(link.step.key == _reward(step).key for link in step.parents["watch"]):
        what = f"{_reward(step).name!r} is what is optimised, and its scores are logged without being watched."
        yield Caution("watch", what, "Watch a reward that nothing is trained against, or leave this one out.")
    yield from learning(step)
    yield from unfinished_unit(config, _reward(step))
    yield from slow_adapters(config, "3e-5")


def _pretraining(step: PlannedStep, config: RolloutConfig) -> Iterator[Caution]:
    has_data = bool(step.parents.get("ptx_data"))
    if config.ptx_coef and not has_data:
        preset = None if given(config, "ptx_coef") else getattr(config, "preset", None)
        by = f"preset: {preset} trains on" if preset else f"ptx_coef {config.ptx_coef:g} is for"
        what = f"{by} examples beside the rollouts, and there is no ptx_data"
        remedy = "Name demonstrations or texts as ptx_data, or leave out " + ("the preset." if preset else "ptx_coef.")
        raise Contradiction(blamed(config, "ptx_coef"), what, remedy)
    if not config.ptx_coef and given(config, "ptx_examples"):
        what = "ptx_coef is 0, so no examples are trained on, however many ptx_examples asks for"
        raise Contradiction("ptx_examples", what, "Set ptx_coef, or leave out ptx_examples.")
    if has_data and not config.ptx_coef:
        yield Caution("ptx_data", "ptx_coef is 0, so ptx_data is not trained on.", "Set ptx_coef, for example to 1.")


def _one_optimizer_step(config: OnPolicyConfig) -> None:
    """Refuses what is about the later optimizer steps of an iteration where there are none."""
    clips = "bounds ratios to the policy that sampled, and in an iteration of one optimizer step all are 1"
    nothing = {} if config.staleness else dict.fromkeys(("clip_range", "clip_range_high", "dual_clip"), clips)
    nothing["value_clip_range"] = "bounds values to those before the iteration, and in its only optimizer step they are"
    nothing["max_update_kl_per_token"] = (
        "leaves out the rest of an iteration, and after one optimizer step nothing is left"
    )
    for key, what in nothing.items():
        if getattr(config, key, None) is not None and given(config, key):
            remedy = f"Raise num_epochs or num_minibatches, or leave out {key}."
            raise Contradiction(key, f"{key} {what}", remedy)


def policy_gradients(step: PlannedStep) -> Iterator[Caution]:
    """Of the settings of PPO, RLOO and GRPO, `rollouts` included."""
    yield from rollouts(step)
    config = step.config
    assert isinstance(config, OnPolicyConfig)
    if config.kl_target is None:
        for key in ("kl_horizon", "kl_horizon_sequences"):
            if given(config, key) and getattr(config, key) is not None:
                what = f"{key} says how fast kl_coef moves towards kl_target, and there is no kl_target"
                raise Contradiction(key, what, f"Add kl_target, in nats per sequence, or leave out {key}.")
    elif config.kl_coef == 0:
        what = "an adaptive coefficient is only ever multiplied, so one that starts at 0 stays 0"
        raise Contradiction("kl_coef", what, "Start above 0, for example at 0.05, or leave out kl_target.")
    else:
        yield from _adaptive(config, config.kl_target)
    if config.kl_in == "loss" and config.kl_estimator == "k1" and config.kl_coef:
        raise Contradiction(
            "kl_in",
            "the gradient of k1 is 0 in expectation: in the loss it holds the policy to nothing",
            "Write `kl_estimator: k2`, whose gradient is that of the KL, or k3; or `kl_in: reward`.",
        )
    if config.num_epochs * min(config.num_minibatches, config.prompts_per_iteration) == 1:
        _one_optimizer_step(config)
    if config.kl_coef == 0:
        for key in ("kl_estimator", "kl_in"):
            if given(config, key):
                yield Caution(key, "kl_coef is 0, so no KL is trained on.", f"Set kl_coef, or leave out {key}.")
    if config.importance_cap is not None and config.importance_cap < 1:
        yield Caution(
            "importance_cap",
            f"ratios lie around 1, so a cap of {config.importance_cap:g} cuts nearly all of them to one number.",
            "Set it to 2, or leave it out.",
        )
    if config.kl_coef == 0 and config.stop_at_kl is None and _reward(step).kind in _MODELS:
        yield Caution(
            "kl_coef",
            "with kl_coef 0 and no stop_at_kl nothing holds the policy to where its reward model is right.",
            "Set one of them.",
        )


def groups(step: PlannedStep) -> Iterator[Caution]:
    """Of the settings of RLOO and GRPO, `policy_gradients` included."""
    assert isinstance(step.config, RolloutConfig)
    several_samples(step.config)
    yield from policy_gradients(step)


def _adaptive(config: OnPolicyConfig, target: float) -> Iterator[Caution]:
    if given(config, "kl_horizon") and config.kl_horizon_sequences is not None:
        what = "kl_horizon and kl_horizon_sequences are one thing in two units"
        raise Contradiction("kl_horizon", what, "Leave out one of them.")
    if config.stop_at_kl is not None and config.stop_at_kl <= target:
        what = f"the run ends at a KL of {config.stop_at_kl:g}, and is steered to one of {target:g}"
        raise Contradiction("stop_at_kl", what, "Raise stop_at_kl well above kl_target, or leave it out.")
    num_updates = config.num_policy_iterations - 1  # what the last one gives is used by nobody
    reach = AdaptiveKL(config.kl_coef, target, config.horizon).reachable_factor(num_updates, config.num_sequences)
    if reach >= _PREFERRED_REACH:
        return
    longest = AdaptiveKL.longest_horizon(_PREFERRED_REACH, num_updates, config.num_sequences)
    what = (
        f"kl_coef starts at {config.kl_coef:g} and can be multiplied by {reach:.4g} at most, as the policy learns "
        f"in {_count(config.num_policy_iterations, 'iteration')} of {config.num_sequences} sequences and a horizon of "
        f"{config.horizon:,.0f}: it cannot follow the KL."
    )
    if longest is None:
        remedy = "Run more iterations of fewer prompts, or leave out kl_target and choose kl_coef."
        if blamed(config, "kl_target") == "preset":
            remedy = "Run more iterations of fewer prompts, or leave out the preset, which steers the KL."
    else:
        # Rounded down, and written in the unit that is in use.
        in_sequences = config.kl_horizon_sequences is not None
        share = int(longest / (config.num_policy_iterations * config.num_sequences) * 1000) / 1000
        most = f"kl_horizon_sequences to {int(longest)}" if in_sequences else f"kl_horizon to {share:g}"
        remedy = f"Set {most} or less, or run more iterations."
    yield Caution(blamed(config, "kl_target"), what, remedy)


def values(step: PlannedStep) -> Iterator[Caution]:
    """Of the settings of PPO, `policy_gradients` included: its preset and its value model."""
    config = step.config
    assert isinstance(config, PPOConfig)
    _keeps_to_its_preset(config)
    if config.num_policy_iterations < 1:
        what = (
            f"in {_count(config.value_warmup, 'iteration')} only the value model learns, and there are "
            f"{config.num_iterations}: the policy never does"
        )
        raise Contradiction(blamed(config, "value_warmup"), what, "Raise num_iterations, or lower value_warmup.")
    yield from policy_gradients(step)
    if given(config, "whiten_over") and not config.whiten_advantages:
        what = "whiten_over says over what advantages are whitened, and whiten_advantages is false"
        raise Contradiction("whiten_over", what, "Leave out one of them.")
    if config.value_model == "shared":
        for key in ("value_start", "value_learning_rate", "value_warmup"):
            if given(config, key) and getattr(config, key):
                what = f"{key} is for a value model of its own, and this one is a head on the policy's"
                raise Contradiction(key, what, f"Write `value_model: separate`, or leave out {key}.")
        return
    if given(config, "value_coef"):
        what = "value_coef weighs the value loss against the policy's where they share weights, and here they do not"
        raise Contradiction("value_coef", what, "Set value_learning_rate, or write `value_model: shared`.")
    written = config.model_fields_set
    if config.lora is not None and "learning_rate" in written and "value_learning_rate" not in written:
        what = f"the value model learns at {config.value_learning_rate:g}, as all weights do: adapters hardly move so."
        yield Caution("lora", what, "Set value_learning_rate, for example to 1.0e-4.")
    yield from _value_start(step, config)


def _value_start(step: PlannedStep, config: PPOConfig) -> Iterator[Caution]:
    if config.value_start == "policy":
        return
    reward = _reward(step)
    wanted = config.value_start == "reward"
    preset = None if given(config, "value_start") else getattr(config, "preset", None)
    by = f"preset: {preset} starts" if preset else "value_start: reward starts"
    remedy = "Write `value_start: policy`" + (", and leave out the preset." if preset else ".")
    if reward.kind not in _MODELS or getattr(reward.config, "members", 1) > 1:
        if wanted:
            what = f"{by} the value model from the reward model, and {reward.name!r} is no single model"
            raise Contradiction(blamed(config, "value_start"), what, remedy)
        return  # there is nothing else to start from
    own, others = _source(step.parents["start"][0].step), _source(reward)
    if own is None or others is None or same_vocabulary(own, others) is not False:
        return  # equal; or unknown, and looked at when the step runs
    if wanted:
        what = f"{by} the value model from {reward.name!r}, whose tokenizer is not the policy's"
        raise Contradiction(blamed(config, "value_start"), what, remedy)
    yield Caution(
        "reward",
        f"the tokenizer of {reward.name!r} is not the policy's, so the value model starts from the policy.",
        "Write `value_start: policy` if that is meant.",
    )


def _keeps_to_its_preset(config: Any) -> None:
    name: PresetName | None = getattr(config, "preset", None)
    if name is None:
        return
    preset = PRESETS[name]
    for key, value in preset.method.items():
        if getattr(config, key) != value:
            what = f"preset: {name} means {key} {_yaml(value)}, and here it is {_yaml(getattr(config, key))}"
            raise Contradiction(key, what, f"Leave out the preset or {key}.")
    for key, value in preset.switched_on.items():
        # A score of 0 is a score; a coefficient of 0 is off.
        if getattr(config, key) is None or (key != "truncation_score" and getattr(config, key) == 0):
            what = f"preset: {name} has {key} (there {_yaml(value)}), and here it is {_yaml(getattr(config, key))}"
            raise Contradiction(key, what, f"Give {key} another value, or leave out the preset.")


def _reward(step: PlannedStep) -> PlannedStep:
    return step.parents["reward"][0].step


def _source(step: PlannedStep) -> str | None:
    """Where the tokenizer of a policy or a reward model comes from: the model at the start of the chain behind it."""
    while (source := getattr(step.config, "source", None)) is None:
        links = step.parents.get("start")
        if not links:
            return None
        step = links[0].step
    return str(source)


def _yaml(value: object) -> str:
    return json.dumps(value).strip('"')


def _count(num: int, thing: str) -> str:
    return f"{num} {thing}{'' if num == 1 else 's'}"
