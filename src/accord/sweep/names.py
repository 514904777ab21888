"""The numbers that a step will leave, by name: known from its plan, so that a mistyped metric costs no run.

They are kept here by hand, and the tests hold them against what the steps log. Counts (`num_...`) are left out: which
of them a summary has depends on the data.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from accord.steps.alarmed import RAISED
from accord.steps.base import PlannedStep

Names = tuple[str, ...]

_OPTIMIZER: Final[Names] = ("loss", "grad_norm", "learning_rate")
_IMITATION: Final[Names] = (*_OPTIMIZER, "mean_token_accuracy")
_REWARDS: Final[Names] = ("rewards/chosen", "rewards/rejected", "rewards/margins", "logps/chosen", "logps/rejected")
_PAIRS: Final[Names] = (*_REWARDS, "rewards/accuracies", "lengths/chosen", "lengths/rejected")
_ROLLOUT: Final[Names] = (
    *(f"objective/{name}" for name in ("scores", "shaped_scores", "kl", "kl_k3", "entropy")),
    *(f"response/{name}" for name in ("mean_tokens", "finished", "own_score", "distinct_2")),
    *("response/perplexity", "response/reference_perplexity", "response/score_length", "spread/reward", "loss/ptx_avg"),
    *(f"sampler/{name}" for name in ("mismatch_per_token", "mismatch_max", "mean_ratio")),
    *("sampler/probe_per_token", "sampler/probe_max"),
    *("policy/num_updates", "policy/grad_norm", "learning_rate"),
    *("response/self_bleu", "response/coverage", "keyword/word", "keyword/rise", "keyword/score"),
)
_POLICY_GRADIENT: Final[Names] = (
    *_ROLLOUT,
    *(f"objective/{name}" for name in ("kl_coef", "non_score_reward", "rlhf_reward")),
    *(f"policy/{name}" for name in ("first_ratio", "first_approxkl", "approxkl_avg", "clipfrac_avg")),
    *("val/ratio", "loss/policy_avg", "loss/kl_avg"),
    *(f"sampling/importance_sampling_ratio/{name}" for name in ("min", "mean", "max")),
)
_GROUP: Final[Names] = (
    *_POLICY_GRADIENT,
    *("reward", "reward_std", "frac_reward_zero_std", "kl"),
    *(f"clip_ratio/{name}" for name in ("low_mean", "high_mean", "region_mean")),
)
_VALUE: Final[Names] = ("loss/value_avg", "val/clipfrac_avg", "value/explained_variance", "phase")
_ONLINE: Final[Names] = ("loss", "frac_reward_zero_std", "pairs/num", "pairs/num_tied_prompts", "pairs/score_gap")

# Rows of metrics, by the kind of the step. A kind that logs none has an empty one.
LOGGED: Final[dict[str, Names]] = {
    **dict.fromkeys(("model", "data", "reward_model", "reward_function", "reward_rule", "reward_endpoint"), ()),
    **dict.fromkeys(
        ("combine", "piecewise", "mix", "sample", "collect", "judge", "evaluate", "redteam", "accuracy"), ()
    ),
    **dict.fromkeys(("ghost_attention", "consistency", "overoptimization"), ()),
    "sft": _IMITATION,
    "reject": _IMITATION,
    "distill": _IMITATION,
    "reward": (*_OPTIMIZER, "accuracy", "margin", "member"),
    "dpo": (*_OPTIMIZER, *_PAIRS, "nll_loss"),
    "kto": (*_OPTIMIZER, *_REWARDS, "kl"),
    "ppo": (*_POLICY_GRADIENT, *_VALUE),
    "rloo": _GROUP,
    "grpo": _GROUP,
    "online_dpo": (*_ROLLOUT, *_PAIRS, *_ONLINE),
}
# What is measured on `validation`, logged as eval_...
MEASURED: Final[dict[str, Names]] = {
    "sft": ("loss", "perplexity"),
    "reward": ("loss", "accuracy"),
    "piecewise": (),
    "dpo": ("loss", *_PAIRS, "nll_loss"),
    "kto": ("loss", *_REWARDS, "kl"),
}
_OF_REWARD: Final[Names] = (
    *("accuracy", "accuracy_low", "accuracy_high", "log_loss", "ece"),
    *(f"safety.{name}" for name in ("auc", "unsafe_precision", "unsafe_recall", "platt_slope", "platt_bias")),
)
_CHANGE: Final[Names] = ("before", "after", "difference")
_OF_DEMONSTRATIONS: Final[Names] = (
    *("refusals", "partial"),
    *(f"words.{text}.{name}" for text in ("prompt", "response") for name in ("median", "p95", "max")),
)
# Of summary.json, beside counts.
_SUMMARY: Final[dict[str, Names]] = {
    "sft": ("share_filled",),
    "sample": ("finished",),
    "reject": ("mean_score", "best_score", "finished"),  # of selection.json
    "ghost_attention": ("kept", "finished"),
    "mix": ("others_share", *(f"quality.{side}.{name}" for side in ("main", "others") for name in _OF_DEMONSTRATIONS)),
    "reward": ("score_offset", "score_gain", *(f"validation.{name}" for name in _OF_REWARD)),
    "dpo": tuple(
        f"parameters.{name}" for name in ("beta", "label_smoothing", "gamma", "odds_coef", "dpop_coef", "length_coef")
    ),
    "kto": ("weight_ratio", *(f"parameters.{name}" for name in ("beta", "desirable_weight", "undesirable_weight"))),
    **dict.fromkeys(("ppo", "rloo", "grpo", "online_dpo"), ("stopped_at_kl",)),
}
_OF_POLICY: Final[Names] = ("kl", "kl_low", "kl_high", "mean_tokens", "distinct_2", "entropy", "finished")
_PERCENTILES: Final = (5, 25, 50, 75, 95)
_OF_ATTACKED: Final[Names] = ("violation_rate", "false_refusal_rate")
_OF_PROXY: Final[Names] = (
    *("accuracy", "accuracy_low", "accuracy_high", "accuracy_openings_cut", "correlation"),
    *("bag_of_words", "single_rater_agreement", "label_reliability"),
)


def is_count(key: str) -> bool:
    """Whether a name, or a dotted path, is that of a count.

    >>> is_count("num_pairs"), is_count("parts.train.num_records"), is_count("loss")
    (True, True, False)
    """
    return key.rpartition(".")[2].startswith("num_")


def logged_by(step: PlannedStep) -> frozenset[str] | None:
    """The names of what a step's metrics and summary will hold, counts aside. None for a kind that is unknown here."""
    if step.kind not in LOGGED:
        return None
    names = {*LOGGED[step.kind], *_SUMMARY.get(step.kind, ())}
    if step.kind in RAISED:
        names |= {"ended_by_alarm.after", "ended_by_alarm.kept"}
    if step.kind == "evaluate":
        names |= _of_policies(step)
    if step.kind == "distill":
        names = _distilled(step, names)
    if step.kind == "redteam":
        names |= {f"policies.{link.name}.{rate}" for link in step.parents["policies"] for rate in _OF_ATTACKED}
    if step.kind == "consistency":
        turns: tuple[int, ...] = getattr(step.config, "turns", ())
        names |= {f"policies.{link.name}.turn_{turn}" for link in step.parents["policies"] for turn in turns}
    if step.kind == "accuracy":
        names |= {f"accuracy.{one.name}.{of.name}" for one in step.parents["rewards"] for of in step.parents["data"]}
    watched = step.parents.get("watch", ())
    names |= {f"{what}/{link.name}" for link in watched for what in ("watch", "agreement", "confidence")}
    names |= {f"spread/{link.name}" for link in watched if _of_several(link.step)}
    if step.parents.get("validation") and MEASURED[step.kind]:
        names |= {f"eval_{name}" for name in MEASURED[step.kind]} | {"best_eval_loss", "best_step"}
    else:
        names -= {name for name in names if name.startswith("validation.")}
    return frozenset(names | ({"iteration"} if LOGGED[step.kind] else set()))


def _distilled(step: PlannedStep, names: set[str]) -> set[str]:
    """Of what is measured on prompts that a step may not have."""
    sets = ("distilled", "asked_again", *(name for name in ("held_out",) if step.parents[name]))
    found = names | {f"safety.{name}.{one}" for name in sets for one in _CHANGE}
    if step.parents["borderline"]:
        found |= {f"false_refusals.{one}" for one in _CHANGE}
    if getattr(step.config, "how", None) == "kl":
        found = found - {"mean_token_accuracy"} | {"top_token_agreement"}
    return found


def _of_several(reward: PlannedStep) -> bool:
    """Whether it is made of several, which may disagree."""
    return reward.kind == "combine" or getattr(reward.config, "members", 1) > 1


def evaluated_by(step: PlannedStep, steps: Collection[str]) -> frozenset[str] | None:
    """The names in the row of a policy that a step evaluates, and the dotted paths of all else in results.json, counts
    aside. None for a kind that is unknown here. steps: the names of all steps of the run."""
    if step.kind != "evaluate":
        return None
    names = _of_policies(step)
    if step.parents.get("proxy") and step.parents.get("by"):
        names.add("reward_model.agreement_on_samples")
    if step.parents.get("pairs"):
        names |= {f"reward_model.{name}" for name in _OF_PROXY}
    if not step.parents.get("proxy_data"):
        names.discard("reward_model.bag_of_words")
    return frozenset(names | {f"seconds.{name}" for name in (*steps, "total")} | {"samples_per_prompt", "gemm_gflops"})


def _of_policies(step: PlannedStep) -> set[str]:
    """In the row of a policy."""
    fields = {"gold": "by", "proxy": "proxy", "second": "second"}
    by = {name for name, field in fields.items() if step.parents.get(field)}
    measured = {f"{name}_score" for name in by} | {f"{name}_win_rate" for name in by - {"proxy"}}
    if getattr(step.config, "judge", None) is not None or step.parents.get("judged"):
        measured.add("judge_win_rate")
    percentiles = {f"gold_score_p{one}" for one in _PERCENTILES} if "gold" in by else set()
    return {f"{name}{end}" for name in measured for end in ("", "_low", "_high")} | percentiles | set(_OF_POLICY)
