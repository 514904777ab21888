"""Samples of policies before and after, on the same prompts: rows that a small script of the page searches and sorts.

Prompts and responses are hostile text: the template engine escapes them. Without JavaScript all rows are there to read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from accord.monitor.values import fixed, number, table

if TYPE_CHECKING:
    from accord.monitor.views import StepView

MOST_ROWS: Final = 300  # on a page


@dataclass(frozen=True, slots=True)
class SampleRow:
    """step, policy: numbers of `steps` and `policies` of the browser. before, after: responses. scores: by whom, before
    and after, in words. change: of the first of them, None where it is not known."""

    step: int
    policy: int
    prompt: str
    prefill: str
    before_name: str
    before: str
    after: str
    scores: list[str]
    change: float | None


@dataclass(frozen=True, slots=True)
class SamplesBrowser:
    """num_rows: that there are; of more than `MOST_ROWS` each step and policy shows the first. by: who sorts."""

    rows: list[SampleRow]
    num_rows: int
    steps: list[str]
    policies: list[str]
    by: str

    @property
    def shared_prompt(self) -> str:
        """The prompt, when all rows have the same one; it is then shown once."""
        prompts = {row.prompt for row in self.rows}
        return prompts.pop() if len(prompts) == 1 else ""


def samples_browser(steps: Sequence[StepView]) -> SamplesBrowser:
    """steps: all of a run that are done; those that keep samples are its evaluations and studies."""
    with_samples = [step for step in steps if step.samples]
    groups: list[list[tuple[str, str, Mapping[str, Any]]]] = []
    for step in with_samples:
        before = _before(step)
        names = dict.fromkeys(name for sample in step.samples for name in table(sample.get("responses")))
        for name in names:
            both = [one for one in step.samples if {name, before} <= table(one.get("responses")).keys()]
            if name != before and both:
                groups.append([(step.name, name, sample) for sample in both])
    of_step = {step.name: at for at, step in enumerate(with_samples)}
    baselines = {step.name: _before(step) for step in with_samples}
    policies = list(dict.fromkeys(group[0][1] for group in groups))
    share = MOST_ROWS // max(1, len(groups)) if sum(map(len, groups)) > MOST_ROWS else MOST_ROWS
    rows = [
        _row(of_step[step], policies.index(name), name, baselines[step], sample)
        for group in groups
        for step, name, sample in group[: max(1, share)]
    ]
    by = "gold" if any(table(sample.get("gold")) for group in groups for _, _, sample in group) else "proxy"
    return SamplesBrowser(rows[:MOST_ROWS], sum(map(len, groups)), list(of_step), policies, by)


def _before(step: StepView) -> str:
    """What the others stand beside: the baseline of an evaluation, the first sample of a study."""
    return str(step.results.get("baseline") or step.results.get("chosen_beside") or "")


def _row(step: int, policy: int, name: str, before: str, sample: Mapping[str, Any]) -> SampleRow:
    responses = table(sample.get("responses"))
    scores = list(_scores(name, before, sample))
    return SampleRow(
        step=step,
        policy=policy,
        prompt=str(sample.get("prompt") or ""),
        prefill=str(sample.get("prefill") or ""),
        before_name=before,
        before=str(responses[before]),
        after=str(responses[name]),
        scores=[said for said, _ in scores],
        change=scores[0][1] if scores else None,
    )


def _scores(name: str, before: str, sample: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    for by in ("gold", "proxy"):
        given = table(sample.get(by))
        if given:
            was, now = number(given.get(before)), number(given.get(name))
            change = None if was is None or now is None else now - was
            sign = "" if change is None else f", {'+' if change > 0 else ''}{fixed(change)}"
            yield f"{by} {fixed(was)} to {fixed(now)}{sign}", change
