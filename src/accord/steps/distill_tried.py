"""What was asked again with a preprompt, and which of the responses is kept: a part of `distill`. Not a step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from accord.data.preprompts import Preprompts
from accord.data.records import from_row, to_row
from accord.steps.base import Job
from accord.steps.distill_asked import Answered, Asking, logits
from accord.types import Demonstration, Prompt, Response

if TYPE_CHECKING:
    import numpy as np

Outcome = Literal["kept", "not_better", "truncated", "empty"]
OUTCOMES: Final[tuple[Outcome, ...]] = ("kept", "not_better", "truncated", "empty")


@dataclass(frozen=True, slots=True)
class Tried:
    """A prompt that was asked again. original, response: without and with the preprompt, the latter the safest of those
    that are finished; their logits of being safe. response, safety, context and preprompt: None where none is
    finished, or none says anything. context: "generic" or "tailored"."""

    prompt: Prompt
    original: Response
    original_safety: float
    outcome: Outcome
    context: str | None = None
    preprompt: str | None = None
    response: Response | None = None
    safety: float | None = None

    def to_row(self) -> dict[str, Any]:
        """A line of tried.jsonl."""
        return {
            **to_row("prompts", self.prompt),
            "original": self.original.text,
            "original_finished": self.original.finished,
            "original_safety": self.original_safety,
            "outcome": self.outcome,
            "context": self.context,
            "preprompt": self.preprompt,
            "response": None if self.response is None else self.response.text,
            "safety": self.safety,
        }

    @classmethod
    def of(cls, row: dict[str, Any]) -> Tried:
        """From a line of tried.jsonl."""
        return cls(
            from_row("prompts", row),
            Response(row["original"], row["original_finished"]),
            row["original_safety"],
            row["outcome"],
            row["context"],
            row["preprompt"],
            None if row["response"] is None else Response(row["response"]),
            row["safety"],
        )


def kept_of(tried: Sequence[Tried]) -> list[tuple[Demonstration, str]]:
    """What is imitated, and the preprompt with which it was said."""
    return [
        (Demonstration(one.prompt, one.response), one.preprompt)
        for one in tried
        if one.outcome == "kept" and one.response is not None and one.preprompt is not None
    ]


def write_tried(path: Path, tried: Sequence[Tried]) -> None:
    """A line of JSON for each."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(one.to_row(), ensure_ascii=False) + "\n" for one in tried)


def read_tried(path: Path) -> list[Tried]:
    """As `write_tried` wrote them."""
    return [Tried.of(json.loads(line)) for line in path.read_text(encoding="utf-8").split("\n") if line]


def preprompt_of(preprompts: Preprompts, context: str, prompt: Prompt, seed: int) -> str | None:
    """None where there is none of this context."""
    if context == "generic":
        return preprompts.generic_for(prompt, seed)
    has_one = prompt.is_safety and preprompts.category_of(prompt.risk_category) is not None
    return preprompts.tailored_for(prompt, seed) if has_one else None


@dataclass(frozen=True, slots=True)
class With:
    """A context, the places of the prompts that it was tried on, and num_samples responses to each."""

    context: str
    places: list[int]
    responses: Answered


def ask_again(
    job: Job, asking: Asking, prompts: Sequence[Prompt], longer: Mapping[str, Mapping[str, Prompt]]
) -> list[With]:
    """longer: by context and the prompt's id, the prompts with their preprompts."""
    found, start = [], job.input("start").model
    for context, of_context in longer.items():
        places = [i for i, prompt in enumerate(prompts) if prompt.id in of_context]
        with_it = [of_context[prompts[i].id] for i in places]
        if places:
            name = f"with a {context} preprompt"
            found.append(With(context, places, asking.answers(name, start, with_it, job.config.num_samples)))
    return found


def judged(
    job: Job,
    prompts: Sequence[Prompt],
    originals: Sequence[Response],
    safety: np.ndarray,
    again: Sequence[With],
    preprompts: Preprompts,
) -> tuple[list[Tried], dict[str, Any]]:
    """Each prompt with the best of its responses, and the mean logits of each context on the prompts that all have.
    safety: [P], of the original answers."""
    import numpy as np

    from accord.algorithms.selection import best_above

    if not prompts:
        return [], {}
    num = job.config.num_samples
    shape = (len(prompts), num * len(again))
    scores, usable = np.full(shape, np.nan), np.zeros(shape, dtype=bool)
    said: list[list[Response | None]] = [[None] * shape[1] for _ in prompts]
    for at, one in enumerate(again):
        own = slice(at * num, (at + 1) * num)
        doing = f"scoring responses with a {one.context} preprompt"
        scores[one.places, own] = logits(job, [prompts[i] for i in one.places], one.responses, doing)
        usable[one.places, own] = [[r.finished and bool(r.text.strip()) for r in of_one] for of_one in one.responses]
        for i, of_one in zip(one.places, one.responses, strict=True):
            said[i][own] = of_one
    best, above = best_above(safety, scores, usable, job.config.margin)
    tried = []
    for i, prompt in enumerate(prompts):
        asked = (prompt, originals[i], float(safety[i]))
        if best[i] < 0:
            finished = any(response is not None and response.finished for response in said[i])
            tried.append(Tried(*asked, "empty" if finished else "truncated"))
            continue
        context = again[best[i] // num].context
        preprompt = preprompt_of(preprompts, context, prompt, job.seed)
        outcome: Outcome = "kept" if above[i] else "not_better"
        tried.append(Tried(*asked, outcome, context, preprompt, said[i][best[i]], float(scores[i, best[i]])))
    return tried, _by_context(job, safety, scores, [one.context for one in again])


def _by_context(job: Job, safety: np.ndarray, scores: np.ndarray, contexts: Sequence[str]) -> dict[str, Any]:
    """The mean logit of all responses without and with each preprompt, on the prompts that have each."""
    import numpy as np

    from accord.algorithms.statistics import bootstrap_mean

    num = job.config.num_samples
    means = {"none": safety} | {
        context: scores[:, at * num : (at + 1) * num].mean(axis=1) for at, context in enumerate(contexts)
    }
    rows = np.flatnonzero(~np.isnan(np.stack(list(means.values()))).any(axis=0))
    if not len(rows):
        return {}
    return {
        name: {"num": len(rows), **asdict(bootstrap_mean(values[rows], seed=job.seed))}
        for name, values in means.items()
    }
