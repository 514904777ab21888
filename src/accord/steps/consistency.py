"""Multi-turn consistency (Llama 2, appendix A.3.5): whether an instruction of the first turn is still held to later.

Every policy answers the same dialogues turn by turn. Whether an answer holds to the instruction a rule decides, or a
judge. Each policy is held against the first one on the same dialogues, with McNemar's exact test.

    - consistency: {prompts: mine.prompts, policies: [sft, ghost], turns: [1, 2, 4, 6]}
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast

from pydantic import Field, field_validator, model_validator

from accord.evaluate.constraints import RULES, read_constraints
from accord.steps import held_out
from accord.steps.asking import Endpoint, check_judge, judge_asker, key_cautions
from accord.steps.base import (
    LATEST,
    Caution,
    Contradiction,
    Job,
    PlannedStep,
    PolicyRef,
    PromptsRef,
    StepConfig,
    StepKind,
)
from accord.steps.conversing import Constrained, Conversations, Instructed, converse, dialogues_of, expected

if TYPE_CHECKING:
    from torch import Tensor

    from accord.engine.sizes import Sizes
    from accord.engine.workload import Work
    from accord.models.policy import Policy

ANSWERS: Final = "answers"  # a folder with a file for each policy
Kept = dict[int, list[bool | None]]


class Config(StepConfig, Constrained, Endpoint):
    """prompts: what the user says: conversations of as many turns as the last that is measured, of which only the
    user's are taken, and prompts of one turn, which are put together. policies: who answers; the first is the one that
    the others are held against. turns: at which it is measured; the instruction stands in the first. by: who decides
    whether it is held to: `rules`, the constraints' checks; or `judge`, the model of an endpoint or the policy `judge`.
    judge: a policy that judges, in place of an endpoint. temperature: 0 takes the most probable token always."""

    prompts: PromptsRef
    policies: tuple[PolicyRef, ...] = Field((LATEST,), min_length=1)
    turns: tuple[int, ...] = Field((1, 2, 4, 6), min_length=1)
    constraints: str = Field("builtin:test", min_length=1)
    by: Literal["rules", "judge"] = "rules"
    judge: PolicyRef | None = None
    temperature: float = Field(0.0, ge=0)

    @field_validator("turns")
    @classmethod
    def _ascending(cls, turns: tuple[int, ...]) -> tuple[int, ...]:
        if list(turns) != sorted(set(turns)) or turns[0] < 1 or turns[-1] > 100:
            raise ValueError("turns are counted from 1, ascend, and are 100 at most")
        return turns

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.policies)) < len(self.policies):
            raise ValueError(f"a policy is named twice in {list(self.policies)}")
        check_judge(self)
        unchecked = [one.text for one in read_constraints(self.constraints) if one.check is None]
        if self.by == "rules" and unchecked:
            what = f"a rule cannot tell whether this is held to, which has no check: {unchecked[0]!r}"
            raise Contradiction("constraints", what, "Give it a check, or write `by: judge` and name one.")
        return self


def check(step: PlannedStep) -> Iterator[Caution]:
    """Whether the constraints, the prompts and who decides are new to the policies."""
    config = cast(Config, step.config)
    yield from key_cautions(config)
    if config.turns == (1,):
        what = "the first turn has the instruction in it: that it is held to there says nothing of later ones."
        yield Caution("turns", what, "Measure at later turns, too, as in [1, 2, 4, 6].")
    yield from held_out.dialogue_cautions(step)


def run(job: Job) -> None:
    """Writes answers/POLICY.jsonl, every dialogue with what was decided; results.json; results.csv, the curve; and
    summary.json."""
    from accord.evaluate.consistency import COLUMNS, by_rules, csv_rows, regressions, summary
    from accord.monitor.alarms import as_json

    config: Config = job.config
    checkpoint = job.work.resume()
    some, counts = dialogues_of(job, config.turns[-1], shorter=False)
    instructions = [one.instruction for one in some]
    held = [Conversations(**one) for one in checkpoint.state["held"]] if checkpoint else []
    held += [Conversations([[] for _ in some]) for _ in range(len(config.policies) - len(held))]
    _answer(job, some, held, checkpoint.iteration if checkpoint else 0)
    names = [policy.name for policy in job.inputs["policies"]]
    said = {name: _said(config, one) for name, one in zip(names, held, strict=True)}
    ruled = {name: by_rules(instructions, of) for name, of in said.items()}
    by, kept, agreement = RULES, ruled, None
    if config.by == "judge":
        by, kept = _judged(job, some, dict(zip(names, held, strict=True)))
        agreement = _agreement(kept, ruled)
    (job.work.out / ANSWERS).mkdir(exist_ok=True)
    for name, one in zip(names, held, strict=True):
        _write(job, name, some, one, kept[name])
    num_over = sum(len({*one.too_long, *one.with_control_tokens}) for one in held)
    found = {"by": by, "agrees_with_rules": agreement, **summary(instructions, said, kept, job.seed)}
    job.write_json("results.json", found)
    with (job.work.out / "results.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *csv_rows(found)])
    shares = {
        name: {f"turn_{turn}": share["value"] for turn, share in of["turns"].items()}
        for name, of in found["policies"].items()
    }
    told = {"num_dialogues": len(some), **counts, "num_ended_early": num_over, "policies": shares}
    job.write_json("summary.json", {**told, "alarms": as_json(regressions(found))})


def _answer(job: Job, some: Sequence[Instructed], held: Sequence[Conversations], chunks: int) -> None:
    """Policy by policy, one in memory at a time, from where they are."""
    from accord.models.compute import compute_dtype
    from accord.models.policy import Policy

    config: Config = job.config

    def state() -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        return {}, {"held": [vars(one) for one in held]}

    def save() -> None:
        nonlocal chunks
        chunks += 1
        job.work.checkpoint_or_stop(chunks, state)

    total = len(held) * sum(len(one.dialogue.turns) for one in some)
    done = sum(len(answers) for one in held for answers in one.answers)
    with job.work.progress(f"{job.name}: answering", total, "turns", start=done) as progress:
        for source, one in zip(job.inputs["policies"], held, strict=True):

            def load(model: Any = source.model) -> Policy:
                return Policy.load(model, compute_dtype())

            converse(
                load,
                some,
                one,
                everywhere=False,
                temperature=config.temperature,
                max_response_tokens=config.max_response_tokens,
                key=(job.seed, source.name),
                goes_on=lambda text, finished: True,
                advance=progress.advance,
                checkpoint=save,
            )


def _said(config: Config, one: Conversations) -> dict[int, list[str | None]]:
    """Turn -> of each dialogue the answer; None where it had ended before."""
    return {
        turn: [answers[turn - 1][0] if len(answers) >= turn else None for answers in one.answers]
        for turn in config.turns
    }


def _judged(job: Job, some: Sequence[Instructed], held: Mapping[str, Conversations]) -> tuple[str, dict[str, Kept]]:
    """Who decides, and what. An answer without a text is not asked about: it holds to nothing."""
    from accord.evaluate.consistency import KeptJudge

    config: Config = job.config
    judge = KeptJudge(judge_asker(job))
    places = [
        (name, turn, at)
        for name, one in held.items()
        for turn in config.turns
        for at, answers in enumerate(one.answers)
        if len(answers) >= turn
    ]
    kept: dict[str, Kept] = {name: {turn: [None] * len(some) for turn in config.turns} for name in held}
    asked = []
    for name, turn, at in places:
        texts = held[name].texts(at)
        if texts[turn - 1].strip():
            prompt = some[at].asked(texts[: turn - 1], everywhere=False)
            asked.append(((name, turn, at), (prompt, some[at].instruction, texts[turn - 1])))
        else:
            kept[name][turn][at] = False
    with job.work.progress(f"{job.name}: judging", len(asked), "answers") as progress:
        advance = job.work.advancer(progress)
        for first in range(0, len(asked), AT_ONCE):
            chunk = asked[first : first + AT_ONCE]
            for ((name, turn, at), _), one in zip(chunk, judge.kept([of for _, of in chunk]), strict=True):
                kept[name][turn][at] = one
            advance(len(chunk))
    return judge.name, kept


AT_ONCE: Final = 64  # answers between two steps of the progress


def _agreement(kept: Mapping[str, Kept], ruled: Mapping[str, Kept]) -> dict[str, Any] | None:
    """How often a judge says what the rules do, where both say something."""
    from accord.evaluate.shares import share_of

    pairs = [
        (one, other)
        for name, of in kept.items()
        for turn, flags in of.items()
        for one, other in zip(flags, ruled[name][turn], strict=True)
        if one is not None and other is not None
    ]
    return share_of(one == other for one, other in pairs)


def _write(job: Job, policy: str, some: Sequence[Instructed], held: Conversations, kept: Kept) -> None:
    with (job.work.out / ANSWERS / f"{policy}.jsonl").open("w", encoding="utf-8") as file:
        for at, one in enumerate(some):
            row = {
                "id": one.dialogue.id,
                "instruction": one.instruction.text,
                "kinds": one.instruction.kinds,
                "turns": [turn.text for turn in one.dialogue.turns],
                "answers": held.texts(at),
                "kept": {str(turn): flags[at] for turn, flags in kept.items()},
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def work(config: Config, sizes: Sizes) -> Work:
    """What run() will do, but for a policy that judges."""
    from accord.engine.workload import Phase, Work, rollout_trees, sampling

    found, cache = [], 0
    for at in range(len(config.policies)):
        lengths = sizes.responses("policies", config.max_response_tokens, at)
        _, turns, scale = expected(config, sizes, config.turns[-1], lengths, everywhere=False, shorter=False)
        for prompts in turns:
            own, _ = rollout_trees(sizes.template, prompts, 1, lengths, sizes.seed)
            sampled, places = sampling(own, sizes.dimensions, scale)
            found += sampled
            cache = max(cache, places)
    phase = Phase(found, frozen=[sizes.policy], cache=cache)
    return Work([phase], loaded=[sizes.policy] * len(config.policies))


STEP = StepKind(produces="results", version=1, config=Config, run=run, work=work, check=check, together=True)
