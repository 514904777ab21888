"""What context distillation has changed: answers before and after, and how safe they are. Not a step.

What was asked again was chosen by one answer that happened to be unsafe, so that a second one is safer on average
without any training. So `before` is a second answer, too. Before and after are drawn by the same numbers: a policy
that has not changed says the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from accord.data.records import from_row, to_row
from accord.steps.base import Job
from accord.steps.distill_asked import Asking, logits
from accord.types import Prompt, Response

if TYPE_CHECKING:
    from accord.steps.distill_tried import Tried
    from accord.store.checkpoints import Checkpoint

AFTER = "after"  # the stage of its checkpoints
AGAIN, HELD_OUT, BORDERLINE = "asked_again", "held_out", "borderline"
ANSWERS: Final = "answers.jsonl"


@dataclass(slots=True)
class LookedAt:
    """Of each set its prompts and their answers. safety: their logits of being safe; of borderline prompts none.
    left_out: for the summary."""

    prompts: dict[str, list[Prompt]]
    before: dict[str, list[Response]] = field(default_factory=dict)
    before_safety: dict[str, list[float]] = field(default_factory=dict)
    after: dict[str, list[Response]] = field(default_factory=dict)
    after_safety: dict[str, list[float]] = field(default_factory=dict)
    left_out: dict[str, Any] = field(default_factory=dict)

    def score_and_write(self, job: Job) -> None:
        """Of the answers before."""
        self.before_safety = _safety(job, self.prompts, self.before, "before")
        self.write(job.work.out / ANSWERS)

    def write(self, path: Path) -> None:
        """A line of JSON for each prompt of each set."""
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for name, prompts in self.prompts.items():
                for i, prompt in enumerate(prompts):
                    row: dict[str, Any] = {"set": name, **to_row("prompts", prompt)}
                    for when, said, safety in (
                        ("before", self.before, self.before_safety),
                        ("after", self.after, self.after_safety),
                    ):
                        if name in said:
                            row |= {when: said[name][i].text, f"{when}_finished": said[name][i].finished}
                        if name in safety:
                            row[f"{when}_safety"] = safety[name][i]
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, path: Path) -> LookedAt:
        """The prompts and the answers before."""
        found = cls({})
        for line in path.read_text(encoding="utf-8").split("\n"):
            if line:
                row = json.loads(line)
                found.prompts.setdefault(row["set"], []).append(from_row("prompts", row))
                found.before.setdefault(row["set"], []).append(Response(row["before"], row["before_finished"]))
                if "before_safety" in row:
                    found.before_safety.setdefault(row["set"], []).append(row["before_safety"])
        return found


def ask_before(job: Job, asking: Asking, again: Sequence[Prompt]) -> LookedAt:
    """What the policy answers before it learns: to what is asked again, to held-out prompts and to borderline ones."""
    from accord.engine.rollout import answerable
    from accord.rewards.loading import learned_folders

    start = job.input("start").model
    folders = [start, *learned_folders(job.input("reward").artifact)]
    found = LookedAt({AGAIN: list(again)} if again else {})
    taught = {(prompt.messages, prompt.prefill) for prompt in again}
    for name in (HELD_OUT, BORDERLINE):
        if not job.inputs[name]:
            continue
        given = job.input(name).read("prompts")
        new = [prompt for prompt in given if (prompt.messages, prompt.prefill) not in taught]
        kept, left_out = answerable(new, folders, job.config.max_response_tokens, f"{job.name}.{name}")
        found.left_out[name] = {"num_prompts": len(kept), "num_also_distilled": len(given) - len(new), **left_out}
        if kept:
            found.prompts[name] = kept
    found.before = {
        name: [only for (only,) in asking.answers(f"before: {name}", start, prompts, draws=name)]
        for name, prompts in found.prompts.items()
    }
    return found


def measure(
    job: Job, checkpoint: Checkpoint | None, trained: Mapping[str, Any], tried: Sequence[Tried]
) -> dict[str, Any]:
    """Asks the policy that was trained, and writes all answers. Returns what has changed, and what pictures are made
    from. checkpoint: of this stage. trained: what the training returned."""
    from accord.evaluate.distillation import refusals, safety_change
    from accord.store.artifacts import MODEL

    trained_policy = job.work.led_out / MODEL
    looked_at = LookedAt.read(job.work.out / ANSWERS)
    done = int(trained["num_optimizer_steps"])
    asking = Asking(job, AFTER, checkpoint, done=done, kept={"trained": trained})
    unchanged = done == 0  # it says again what it said
    for name, prompts in () if unchanged else looked_at.prompts.items():
        answers = asking.answers(f"after: {name}", trained_policy, prompts, draws=name)
        looked_at.after[name] = [only for (only,) in answers]
    asking.release()
    if unchanged:
        looked_at.after, looked_at.after_safety = looked_at.before, looked_at.before_safety
    else:
        looked_at.after_safety = _safety(job, looked_at.prompts, looked_at.after, "after")
    looked_at.write(job.work.out / ANSWERS)

    kept = [i for i, one in enumerate(tried) if one.outcome == "kept"]
    before, after = looked_at.before_safety, looked_at.after_safety
    safety = {}
    if kept:
        safety = {"distilled": safety_change(*([of[AGAIN][i] for i in kept] for of in (before, after)), seed=job.seed)}
    safety |= {name: safety_change(before[name], after[name], seed=job.seed) for name in before}
    border = looked_at.prompts.get(BORDERLINE)
    return {
        "safety": safety,
        "false_refusals": refusals(border, looked_at.before[BORDERLINE], looked_at.after[BORDERLINE])
        if border
        else None,
        "points": [
            {"original": one.original_safety, "distilled": one.safety, "kept": one.outcome == "kept"}
            for one in tried
            if one.safety is not None
        ],
        "scores": {name: {"before": before[name], "after": after[name]} for name in before},
    }


def _safety(
    job: Job, prompts: Mapping[str, Sequence[Prompt]], answers: Mapping[str, Sequence[Response]], when: str
) -> dict[str, list[float]]:
    """The logit of being safe of each answer; not of those to borderline prompts, which are safe whatever is said."""
    return {
        name: logits(job, some, [(one,) for one in answers[name]], f"scoring {when}: {name}")[:, 0].tolist()
        for name, some in prompts.items()
        if name != BORDERLINE
    }
