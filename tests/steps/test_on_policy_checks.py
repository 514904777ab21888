"""What is refused or warned of when a plan is made, each with its place and a sentence that says what to change."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accord.errors import UserError
from accord.models.scalar import Normalisation, ScalarModel
from accord.plan import Plan, make_plan
from accord.recipe import parse_recipe
from accord.steps.registry import STEPS
from tests.fixtures.made_up_data import made_up  # noqa: F401
from tests.fixtures.tiny_model import make_tokenizer

pytestmark = pytest.mark.usefixtures("made_up")

PRESET_PTX = "ptx_data: mine.demos, prompts_per_iteration: 8"


def plan(model: Path, keys: str, *, kind: str = "ppo", reward: str = "rm", external: Path | None = None) -> Plan:
    """Of a step with these keys on line 9, after a reward model, a rule and, if given, somebody else's reward model."""
    others = (
        f"reward_model: {{name: other, source: {json.dumps(str(external))}}}" if external else "sft: {data: mine.demos}"
    )
    text = (
        f"model: {json.dumps(str(model))}\n"
        "data: {mine: builtin:made-up}\n"
        "steps:\n"
        "  - reward: {name: rm, data: mine.pairs}\n"
        "  - reward_rule: {name: rule, rule: length, target: 3}\n"
        f"  - {others}\n"
        "  - combine: {name: both, rewards: [rm, rule]}\n"
        f"  - {kind}:\n"
        f"      {{prompts: mine.prompts, reward: {reward}, {keys}}}\n"
    )
    return make_plan(parse_recipe(text, Path("r.yaml")), STEPS)


def cautions(*args: object, **options: object) -> tuple[str, ...]:
    return plan(*args, **options).cautions  # type: ignore[arg-type]


REFUSED = [
    # adaptive KL
    ("kl_target: 6, kl_coef: 0", "kl_coef", "one that starts at 0 stays 0", "Start above 0"),
    ("kl_horizon: 0.1", "kl_horizon", "there is no kl_target", "Add kl_target, in nats per sequence"),
    ("kl_horizon_sequences: 100", "kl_horizon_sequences", "there is no kl_target", "leave out kl_horizon_sequences"),
    ("kl_target: 6, kl_horizon: 0.1, kl_horizon_sequences: 9", "kl_horizon", "one thing in two units", "Leave out one"),
    ("kl_target: 6, stop_at_kl: 5", "stop_at_kl", "ends at a KL of 5, and is steered to one of 6", "Raise stop_at_kl"),
    ("kl_in: loss", "kl_in", "the gradient of k1 is 0 in expectation", "kl_estimator: k2"),
    # sampling
    ("top_p: 0.9", "top_p", "sampled from the whole distribution", "Leave top_p out"),
    ("top_k: 50", "top_k", "sampled from the whole distribution", "lower temperature"),
    ("top_k: true", "top_k", "sampled from the whole distribution", "Leave top_k out"),
    # unfinished responses
    ("mask_truncated: true, truncation_score: -1", "truncation_score", "seen by nobody", "Leave out truncation_score"),
    ("mask_truncated: true, truncation_penalty: 1", "truncation_penalty", "seen by nobody", "or mask_truncated"),
    ("end_after: 16", "end_after", "there is no end_at", 'Add `end_at: "."`'),
    ('end_at: ".", end_after: 48', "end_after", "none would ever be finished", "Lower end_after"),
    # optimizer steps
    (
        "max_update_kl_per_token: 1, num_minibatches: 1",
        "max_update_kl_per_token",
        "after one optimizer step",
        "Raise num_epochs",
    ),
    ("clip_range: 0.1, num_minibatches: 1", "clip_range", "of one optimizer step all are 1", "Raise num_epochs"),
    ("value_clip_range: 0.1, num_minibatches: 1", "value_clip_range", "its only optimizer step they are", "Raise num"),
    ("dual_clip: 3, num_minibatches: 1", "dual_clip", "of one optimizer step all are 1", "leave out dual_clip"),
    # examples beside
    ("ptx_coef: 1", "ptx_coef", "ptx_coef 1 is for examples beside the rollouts", "leave out ptx_coef"),
    ("ptx_examples: 2", "ptx_examples", "ptx_coef is 0, so no examples", "leave out ptx_examples"),
    # the value model
    ("value_model: shared, value_start: policy", "value_start", "a head on the policy's", "value_model: separate"),
    ("value_model: shared, value_learning_rate: 1.0e-4", "value_learning_rate", "of its own", "leave out value_lea"),
    ("value_model: shared, value_warmup: 3", "value_warmup", "a head on the policy's", "leave out value_warmup"),
    ("whiten_over: minibatch, whiten_advantages: false", "whiten_over", "whiten_advantages is false", "one of them"),
    ("value_coef: 0.2", "value_coef", "here they do not", "value_model: shared"),
    (
        "value_warmup: 3, num_iterations: 3, ema: 0.9",
        "value_warmup",
        "in 3 iterations only the value model learns, and there are 3: the policy never does",
        "Raise num_iterations, or lower value_warmup",
    ),
    (
        f"preset: ppo-max, num_iterations: 4, {PRESET_PTX}",
        "preset",
        "in 5 iterations only the value model learns, and there are 4",
        "Raise num_iterations",
    ),
    (
        f"preset: ppo-max, num_iterations: 1, value_warmup: 1, {PRESET_PTX}",
        "value_warmup",
        "in 1 iteration only the value model learns, and there are 1",
        "or lower value_warmup",
    ),
    ("staleness: 1, num_iterations: 1", "staleness", "a first rollout is never behind", "Raise num_iterations"),
    ("staleness: 1, num_iterations: 4, value_warmup: 3", "staleness", "there is no second one", "leave out staleness"),
    ("staleness: 2", "staleness", "should be 0 or 1", ""),
    # presets
    ("preset: llama2, num_epochs: 4", "num_epochs", "llama2 means num_epochs 1, and here it is 4", "Leave out the pre"),
    ("preset: llama2, kl_target: 6", "kl_target", "llama2 means kl_target null, and here it is 6", "or kl_target"),
    ("preset: ziegler, kl_target: null", "kl_target", "ziegler has kl_target (there 6.0), and here it is null", "oth"),
    ("preset: ziegler, whiten_rewards: false", "whiten_rewards", "means whiten_rewards true, and here", "leave out"),
    ("preset: stiennon, value_start: policy", "value_start", "means value_start reward, and here it is pol", "Leave o"),
    ("preset: instructgpt", "preset", "preset: instructgpt trains on examples beside", "leave out the preset"),
    ("preset: ppo-max", "preset", "preset: ppo-max trains on examples beside", "Name demonstrations or texts"),
    ("preset: instructgpt, ptx_coef: 2", "ptx_coef", "ptx_coef 2 is for examples", "leave out ptx_coef"),
    (f"preset: ppo-max, value_warmup: 0, {PRESET_PTX}", "value_warmup", "here it is 0", "leave out the preset"),
    ("preset: llama", "preset", "it should be 'ziegler', 'stiennon'", "Did you mean 'llama2'?"),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "key", "what", "remedy"), REFUSED, ids=[case[0] for case in REFUSED])
def test_refused(tiny_model: Path, keys: str, key: str, what: str, remedy: str) -> None:
    with pytest.raises(UserError) as error:
        plan(tiny_model, keys)
    assert error.value.where == f"r.yaml:9:ppo.{key}"
    assert what in error.value.what
    assert remedy.casefold() in error.value.remedy.casefold()


WARNED = [
    ("kl_target: 6, num_iterations: 4", "kl_target", "multiplied by 1.728 at most", "Run more iterations of fewer"),
    ("kl_target: 6, kl_horizon: 2", "kl_target", "multiplied by 1.101 at most", "Set kl_horizon to 0.275 or less"),
    # 1 + 0.2 * 64 / 10000, 29 times; 0.2 * 64 / (2^(1/29) - 1) = 529
    ("kl_target: 6, kl_horizon_sequences: 10000", "kl_target", "multiplied by 1.038", "kl_horizon_sequences to 529 or"),
    (
        "preset: ziegler, prompts_per_iteration: 16",
        "preset",
        "horizon of 10,000",
        "kl_horizon_sequences to 529 or less",
    ),
    ("preset: ziegler, num_iterations: 3", "preset", "multiplied by", "or leave out the preset, which steers the KL"),
    ("truncation_penalty: 1", "truncation_penalty", "first gets the score -1", "truncation_score: null"),
    ("score_clip: 2", "score_clip", "held between -2 and 2 in the units of the reward", "score_normalisation: running"),
    ("num_minibatches: 20", "num_minibatches", "16 prompts has that many minibatches at most", "Lower num_minibatches"),
    ("ptx_data: mine.demos", "ptx_data", "ptx_coef is 0", "Set ptx_coef"),
    ("importance_cap: 0.5", "importance_cap", "a cap of 0.5 cuts nearly all", "Set it to 2"),
    ("kl_coef: 0", "kl_coef", "nothing holds the policy", "Set one of them"),
    # 0.992^30 = 0.786; 0.1^(1/30) = 0.926
    ("ema: 0.992", "ema", "after 30 iterations still 79 % of what is kept", "Set ema to 0.926 or less"),
    (f"preset: instructgpt, {PRESET_PTX}", "preset", "an average of decay 0.992", "Set ema to 0.926 or less"),
    # 0.94^10 = 0.539; 0.1^(1/10) = 0.794
    (
        "ema: 0.94, value_warmup: 20",
        "ema",
        "after 10 iterations still 54 % of what is kept",
        "Set ema to 0.794 or less",
    ),
    ("kl_target: 6, value_warmup: 26", "kl_target", "learns in 4 iterations of 64 sequences", "Run more iterations"),
    ("final_learning_rate: 0.1", "final_learning_rate", "decay is constant", "Write `decay: linear`"),
    ("kl_coef: 0, stop_at_kl: 9, kl_estimator: k3", "kl_estimator", "no KL is trained on", "leave out kl_estimator"),
    ("kl_coef: 0, stop_at_kl: 9, kl_in: loss", "kl_in", "no KL is trained on", "Set kl_coef"),
    ("watch_every: 2", "watch_every", "no reward watches, however often", "Name one as `watch`"),
    ("watch: [rm]", "watch", "'rm' is what is optimised, and its scores are logged without", "leave this one out"),
    (
        "watch: [rule, both, rule], truncation_score: 0",
        "watch",
        "rule stands there twice.",
        "Leave one of them out, unless that is meant.",
    ),
    (
        "ptx_coef: 1, ptx_data: [mine.demos, mine.demos]",
        "ptx_data",
        "mine.demos stands there twice, so what it holds counts double.",
        "Leave one of them out",
    ),
    ("learning_rate: 1e30", "learning_rate", "a learning rate of 1e+30 moves each weight", "1e-6 to 1e-4 for all"),
    ("value_learning_rate: 0.02", "value_learning_rate", "a learning rate of 0.02 moves", "up to 1e-3 for adapters"),
]


@pytest.mark.parametrize(("keys", "key", "what", "remedy"), WARNED, ids=[case[0] for case in WARNED])
def test_warned(tiny_model: Path, keys: str, key: str, what: str, remedy: str) -> None:
    (caution,) = cautions(tiny_model, keys)
    assert caution.startswith(f"r.yaml:9:ppo.{key}: ")
    assert what in caution
    assert remedy in caution


FINE = [
    "kl_target: 6",
    "kl_target: 6, stop_at_kl: 20, kl_horizon: 0.1",
    "kl_target: 6, num_iterations: 5",
    "kl_in: loss, kl_estimator: k3",
    "top_p: 1.0, top_k: 0",
    "top_k: null",
    "mask_truncated: true",
    "truncation_score: null, truncation_penalty: 1",
    'end_at: ".", end_after: 16',
    "ptx_data: mine.demos, ptx_coef: 1",
    "score_clip: 2, score_normalisation: running",
    "value_model: shared, value_coef: 0.2",
    "importance_cap: 2",
    "staleness: 1",
    "staleness: 1, num_minibatches: 1, clip_range: 0.1, dual_clip: 3",
    "preset: stiennon",
    "preset: stiennon, kl_coef: 0.1, num_minibatches: 4",
    "preset: llama2, kl_coef: 0.005",
    "preset: ziegler, kl_horizon: 0.05, kl_target: 10",
    "preset: ziegler, kl_horizon: 0.05, decay: constant",
    "preset: stiennon, decay: constant",
    f"preset: ppo-max, {PRESET_PTX}",
    f"preset: instructgpt, {PRESET_PTX}, ema: 0.9",
    "ema: 0.97",
    "ema: 0.97, value_warmup: 3",
    "value_warmup: 29",
    "watch: [rule, both]",
    "learning_rate: 0.01",
    "max_update_kl_per_token: 1",
    "decay: linear, final_learning_rate: 0.1",
]


@pytest.mark.parametrize("keys", FINE)
def test_said_nothing_of(tiny_model: Path, keys: str) -> None:
    assert cautions(tiny_model, keys) == ()


@pytest.mark.parametrize("kind", ["rloo", "grpo"])
def test_other_methods_have_the_checks_that_concern_them(tiny_model: Path, kind: str) -> None:
    assert cautions(tiny_model, "kl_target: 6", kind=kind) == ()
    with pytest.raises(UserError, match="one that starts at 0 stays 0"):
        plan(tiny_model, "kl_target: 6, kl_coef: 0", kind=kind)
    with pytest.raises(UserError, match="unknown key 'whiten_rewards'"):
        plan(tiny_model, "whiten_rewards: true", kind=kind)
    with pytest.raises(UserError, match="unknown key 'preset'"):
        plan(tiny_model, "preset: llama2", kind=kind)


def test_grpo_says_nothing_of_a_rule_that_nothing_holds_to(tiny_model: Path) -> None:
    """A rule is right everywhere; a model is where its data was."""
    assert cautions(tiny_model, "kl_coef: 0, truncation_score: null", kind="grpo", reward="rule") == ()
    (caution,) = cautions(tiny_model, "kl_coef: 0", kind="grpo")
    assert "nothing holds the policy to where its reward model is right" in caution


@pytest.mark.parametrize("reward", ["rule", "both"])
def test_a_value_model_cannot_start_from_what_is_no_model(tiny_model: Path, reward: str) -> None:
    assert cautions(tiny_model, "truncation_score: null", reward=reward) == ()
    with pytest.raises(UserError) as error:
        plan(tiny_model, "value_start: reward", reward=reward)
    assert error.value.where == "r.yaml:9:ppo.value_start"
    assert f"value_start: reward starts the value model from the reward model, and {reward!r} is no" in error.value.what
    assert error.value.remedy == "Write `value_start: policy`."
    with pytest.raises(UserError, match="preset: stiennon starts the value model from the reward model") as error:
        plan(tiny_model, "preset: stiennon", reward=reward)
    assert error.value.where == "r.yaml:9:ppo.preset"
    assert error.value.remedy.endswith("and leave out the preset.")


def test_a_reward_model_of_other_tokens_is_no_start(tiny_model: Path, tmp_path: Path) -> None:
    same, other = tmp_path / "same", tmp_path / "other"
    for folder in (same, other):
        ScalarModel.from_policy(tiny_model, 1).save(folder, {}, Normalisation())
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["lighthouse"])
    tokenizer.save_pretrained(other)

    unit = "truncation_score: 0"
    assert cautions(tiny_model, f"value_start: reward, {unit}", reward="other", external=same) == ()
    assert cautions(tiny_model, f"value_start: policy, {unit}", reward="other", external=other) == ()
    (caution,) = cautions(tiny_model, unit, reward="other", external=other)
    assert caution.startswith("r.yaml:9:ppo.reward: the tokenizer of 'other' is not the policy's, so the value ")
    with pytest.raises(UserError, match="from 'other', whose tokenizer is not the policy's") as error:
        plan(tiny_model, "value_start: reward", reward="other", external=other)
    assert error.value.where == "r.yaml:9:ppo.value_start"
    assert error.value.remedy == "Write `value_start: policy`."


def test_several_reward_models_are_no_start_either(tiny_model: Path) -> None:
    several = "sft: {data: mine.demos}\n  - reward: {name: many, data: mine.pairs, members: 2, lora: {rank: 2}}"
    text = (
        f"model: {json.dumps(str(tiny_model))}\ndata: {{mine: builtin:made-up}}\nsteps:\n  - {several}\n"
        "  - ppo: {prompts: mine.prompts, reward: many, value_start: reward}\n"
    )
    with pytest.raises(UserError, match="'many' is no single model"):
        make_plan(parse_recipe(text, Path("r.yaml")), STEPS)


ON_POLICY = ["ppo", "rloo", "grpo", "online_dpo"]


@pytest.mark.parametrize("kind", ON_POLICY)
def test_adapters_want_a_learning_rate_of_their_own(tiny_model: Path, kind: str) -> None:
    (caution,) = cautions(tiny_model, "lora: {rank: 2}", kind=kind)
    assert f"{kind}.lora: the learning rate is 3e-06, as for all weights" in caution
    assert "Set learning_rate: 3e-5." in caution
    value = ", value_learning_rate: 1.0e-4" if kind == "ppo" else ""
    assert cautions(tiny_model, f"lora: {{rank: 2}}, learning_rate: 3.0e-6{value}", kind=kind) == ()


def test_the_ratio_of_a_long_response_is_soon_clipped(tiny_model: Path) -> None:
    for steps in ("num_minibatches: 2", "num_epochs: 3"):
        (caution,) = cautions(tiny_model, f"{steps}, max_response_tokens: 101", kind="rloo")
        assert "r.yaml:8:rloo: clip_range 0.2 is of the whole response's ratio" in caution
        assert "or write `ratio: token`" in caution
        assert cautions(tiny_model, f"{steps}, max_response_tokens: 100", kind="rloo") == ()
        assert cautions(tiny_model, f"{steps}, max_response_tokens: 101, ratio: token", kind="rloo") == ()
    assert cautions(tiny_model, "max_response_tokens: 101", kind="rloo") == ()


def test_defaults_of_the_methods() -> None:
    defaults = {kind: STEPS[kind].config.model_fields for kind in ON_POLICY}
    assert {fields["learning_rate"].default for fields in defaults.values()} == {3e-6}
    assert defaults["ppo"]["value_learning_rate"].default == 1e-5
    sizes = {k: (fields["num_samples"].default, fields["num_minibatches"].default) for k, fields in defaults.items()}
    assert sizes == {"ppo": (4, 2), "rloo": (4, 1), "grpo": (8, 1), "online_dpo": (2, 2)}
