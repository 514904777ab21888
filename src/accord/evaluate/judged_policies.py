"""What judges say of policies: of their responses to the same prompts, against a baseline's, in both orders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from accord.collect.judge import JudgeAnnotator, judged_rows
from accord.collect.judge_quality import judge_alarms
from accord.evaluate.win_rates import evaluate_judged
from accord.monitor.alarm import Alarm
from accord.types import Comparison, Prompt, Response

_AT_ONCE = 16  # comparisons between two steps of the progress


def verdicts_on(
    judge: JudgeAnnotator,
    prompts: Sequence[Prompt],
    texts: Mapping[str, Sequence[str]],
    baseline: str,
    advance: Callable[[int], None],
) -> Iterator[dict[str, str]]:
    """Rows as `accord eval win-rate` reads them, two for each prompt and policy but the baseline; those that could not
    be read are missing. texts: by policy, its response to each prompt. advance: comparisons judged."""
    for name, own in texts.items():
        if name == baseline:
            continue
        pairs = [
            Comparison(f"{prompt.id}", prompt, (Response(one), Response(other)))
            for prompt, one, other in zip(prompts, own, texts[baseline], strict=True)
        ]
        for at in range(0, len(pairs), _AT_ONCE):
            some = pairs[at : at + _AT_ONCE]
            wrote = {one.id: (name, baseline) for one in some}
            yield from judged_rows(judge.name, some, wrote, judge.verdicts(some))
            advance(len(some))


def of_judges(path: Path, baseline: str, seed: int) -> list[dict[str, Any]]:
    """Of each judge of a file of judged pairs what `evaluate_judged` has, with its name. Raises UserError."""
    found = evaluate_judged(str(path), {}, baseline=baseline, seed=seed)["judges"]
    return [{"judge": name, **one} for name, one in found.items()]


def alarms_of(judge: Mapping[str, Any]) -> list[Alarm]:
    """Of one of `of_judges`."""
    return judge_alarms({"flip_rate": judge["flips"]})
