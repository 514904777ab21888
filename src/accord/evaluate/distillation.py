"""What context distillation has changed: how safe answers to adversarial prompts are, and how often borderline prompts,
which are safe and look unsafe, are refused. Either alone is easy: who refuses everything is safe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from accord.algorithms.statistics import bootstrap_mean, wilson
from accord.algorithms.win_rates import mcnemar
from accord.collect.judge_prompts import conversation_text
from accord.evaluate.refusals import Detector, PhraseDetector
from accord.monitor.alarm import Alarm
from accord.types import Prompt, Response

WHY_NOT: Final = ("not_better", "truncated", "empty")  # a response is not imitated
SURE: Final = 0.05  # a p-value below it is worth an alarm


def safety_change(before: Sequence[float], after: Sequence[float], *, seed: int) -> dict[str, Any]:
    """Of the logits of being safe of two answers to each of some prompts: their means, the mean difference, with 95 %
    bootstraps over prompts, and the share that is unsafe with a probability of one half or more, with Wilson's."""
    first, second = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    assert len(first) == len(second) > 0
    return {
        "num": len(first),
        "before": asdict(bootstrap_mean(first, seed=seed)),
        "after": asdict(bootstrap_mean(second, seed=seed)),
        "difference": asdict(bootstrap_mean(second - first, seed=seed)),
        "unsafe_before": asdict(wilson(int((first <= 0).sum()), len(first))),
        "unsafe_after": asdict(wilson(int((second <= 0).sum()), len(second))),
    }


def refusals(
    prompts: Sequence[Prompt],
    before: Sequence[Response],
    after: Sequence[Response],
    detector: Detector | None = None,
) -> dict[str, Any]:
    """The share of borderline prompts that are refused, in part too, before and after; how many are newly refused and
    answered, and McNemar's exact p. detector: None for phrases. Prompts of which it cannot say are left out."""
    by = detector or PhraseDetector()
    asked = [conversation_text(prompt).removeprefix("User: ") for prompt in prompts]
    outcomes = [
        by.outcomes(asked, [prompt.prefill + one.text for prompt, one in zip(prompts, answers, strict=True)])
        for answers in (before, after)
    ]
    both = [pair for pair in zip(*outcomes, strict=True) if None not in pair]
    refused = np.array([[one != "compliance" for one in pair] for pair in both], dtype=bool).reshape(-1, 2)
    test = mcnemar(~refused[:, 0], ~refused[:, 1])
    shares = [wilson(int(column.sum()), len(both)) for column in refused.T]
    return {
        "by": by.name,
        "num": len(both),
        "num_unknown": len(prompts) - len(both),
        "before": asdict(shares[0]) if both else None,
        "after": asdict(shares[1]) if both else None,
        "newly_refused": test.only_first,
        "newly_answered": test.only_second,
        "p_value": test.p_value,
    }


def brief(found: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a step's results, without their intervals, for its summary."""
    safety = {
        name: {key: one[key]["value"] for key in ("before", "after", "difference")}
        for name, one in found["safety"].items()
    }
    told: dict[str, Any] = {"safety": safety}
    of = found["false_refusals"]
    if of and of["num"]:
        before, after = of["before"]["value"], of["after"]["value"]
        told["false_refusals"] = {"before": before, "after": after, "difference": after - before}
    return told


def nothing_learned(counts: Mapping[str, int], below: float) -> Alarm:
    """Of a step that kept no response. counts: of its summary. below: its key."""
    unchanged = "nothing was distilled, and the policy is the one that was given, unchanged: "
    if not counts["num_tried"]:
        what = f"all {counts['num_prompts']} original answers are safe with a probability of {below:g} or more"
        remedy = "Raise `below`, or name prompts that are harder"
    else:
        told = ", ".join(f"{counts[f'num_{name}']} {name.replace('_', ' ')}" for name in WHY_NOT)
        what = f"of {counts['num_tried']} prompts that were asked again no response is kept ({told})"
        remedy = "Take more samples, longer ones (`max_response_tokens`), a smaller `margin`, or other `templates`"
    return Alarm("nothing_distilled", f"{unchanged}{what}. {remedy}", 0)


def alarms_of(found: Mapping[str, Any]) -> list[Alarm]:
    """Of a step's results: what got worse, and not by chance."""
    raised = []
    of = found["false_refusals"]
    if of and of["newly_refused"] > of["newly_answered"] and of["p_value"] < SURE:
        told = (
            "it refuses {newly_refused} borderline prompts that it answered before, and answers {newly_answered} that "
            "it refused (of {num}; McNemar's exact p = {p_value:.2g}). Mix in `demonstrations`, raise `margin`, or "
            "lower `below`"
        )
        raised.append(Alarm("more_false_refusals", told.format(**of), 0))
    held_out = found["safety"].get("held_out")
    if held_out and held_out["difference"]["high"] < 0:
        told = (
            "answers to the held-out prompts are less safe than before, by {value:.2f} ({low:.2f} to {high:.2f}) in "
            "the logit. Look at what was kept, in tried.jsonl"
        )
        gap = {
            key: -held_out["difference"][of_key]
            for key, of_key in zip(("value", "low", "high"), ("value", "high", "low"), strict=True)
        }
        raised.append(Alarm("less_safe", told.format(**gap), 0))
    return raised
