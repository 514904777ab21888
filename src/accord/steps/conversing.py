"""Dialogues with an instruction, and what a policy answers turn after turn: of the steps that do so. Not a step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from pydantic import Field, model_validator

from accord.data.dialogues import Composed, Dialogue, compose
from accord.errors import UserError
from accord.evaluate.constraints import Instruction, digest_text, instruction_of, read_constraints
from accord.seeds import derive_seed
from accord.steps.base import Contradiction, Job
from accord.strict import StrictModel
from accord.types import Prompt

if TYPE_CHECKING:
    from accord.engine.sizes import Sizes
    from accord.models.policy import Policy

CHUNK: Final = 64  # answers of each process between two points where the step can be stopped and gone on with
Answers = list[list[list[Any]]]  # [dialogues][turns so far][text with its prefill, finished]


class Constrained(StrictModel):
    """constraints: what the instructions are made of: `builtin:train`, `builtin:test`, or a .yaml file.
    num_constraints: the fewest and the most in an instruction, no two of one kind. num_dialogues: so many, for which
    prompts are gone through as often as it takes (null: each prompt once). max_response_tokens: a longer answer is cut
    off."""

    constraints: str = Field("builtin:train", min_length=1)
    num_constraints: tuple[int, int] = (1, 2)
    num_dialogues: int | None = Field(None, gt=0)
    max_response_tokens: int = Field(128, gt=0)
    fingerprint: str = ""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        """What the file holds, and not what it is called, decides what is asked."""
        source = (
            values.get("constraints", cls.model_fields["constraints"].default) if isinstance(values, dict) else None
        )
        if not isinstance(source, str) or not source:
            return values
        return {**values, "fingerprint": fingerprint_of(source)}

    @model_validator(mode="after")
    def _check_number(self) -> Self:
        least, most = self.num_constraints
        num = len({one.kind for one in read_constraints(self.constraints)})
        if not 1 <= least <= most:
            raise Contradiction("num_constraints", "the fewest come first, and are 1 at least", "As in [1, 2].")
        if least > num:
            what = f"no two constraints of an instruction are of one kind, and {self.constraints} has {num}"
            raise Contradiction("num_constraints", what, f"Lower it to {num}, or name constraints of more kinds.")
        return self


def fingerprint_of(source: str) -> str:
    return hashlib.sha256(digest_text(read_constraints(source)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Instructed:
    """A dialogue and what is to be held to in it."""

    dialogue: Dialogue
    instruction: Instruction

    def asked(self, answers: Sequence[str], *, everywhere: bool) -> Prompt:
        """The prompt of the turn after `answers`, with the instruction in front of every turn, or of the first."""
        turns = self.dialogue.turns[: len(answers) + 1]
        said = [self.instruction.before(one.text) if everywhere or not at else one.text for at, one in enumerate(turns)]
        return self.dialogue.asked(said, answers)


def dialogues_of(job: Job, num_turns: int, *, shorter: bool) -> tuple[list[Instructed], dict[str, int]]:
    """The dialogues of a step, with drawn instructions, and counts for its summary. Raises UserError where there are
    none, and where the constraints have changed since the plan was made."""
    config = job.config
    if fingerprint_of(config.constraints) != config.fingerprint:
        what = "the constraints have changed since the plan was made"
        remedy = "Run the same command again: it plans with them as they are."
        raise UserError(what, where=f"{job.name}.constraints", remedy=remedy)
    composed = _composed(config, job.input("prompts").read("prompts"), num_turns, job.seed, shorter, job.name)
    counts = {"num_short": composed.num_short, "num_prompts_over": composed.num_over}
    return _with_instructions(config, composed.dialogues, job.seed), counts


def _composed(config: Any, prompts: Sequence[Prompt], num_turns: int, seed: int, shorter: bool, where: str) -> Composed:
    composed = compose(prompts, num_turns, seed, num_dialogues=config.num_dialogues, shorter=shorter)
    if not composed.dialogues:
        what = f"no dialogue of {num_turns} turns can be made of the {len(prompts)} prompts"
        remedy = "Name more prompts of one turn each, conversations of more turns, or ask for fewer turns."
        raise UserError(what, where=f"{where}.prompts", remedy=remedy)
    return composed


def _with_instructions(config: Any, dialogues: Sequence[Dialogue], seed: int) -> list[Instructed]:
    constraints = read_constraints(config.constraints)
    seeds = [derive_seed(seed, "instruction", one.id) for one in dialogues]
    drawn = [instruction_of(constraints, config.num_constraints, one) for one in seeds]
    return [Instructed(one, of) for one, of in zip(dialogues, drawn, strict=True)]


def expected(
    config: Any, sizes: Sizes, num_turns: int, lengths: Sequence[int], *, everywhere: bool, shorter: bool
) -> tuple[list[Instructed], list[list[Prompt]], float]:
    """For an estimate: dialogues, what they are asked turn by turn with answers of about the expected lengths, and how
    many dialogues each stands for. Raises UserError where all prompts are known and make none."""
    given = sizes.records("prompts", "prompts")
    wanted = config.num_dialogues or max(1, given.total // num_turns)
    few = config.model_copy(update={"num_dialogues": min(wanted, CHUNK)})
    try:
        some = _with_instructions(
            few, _composed(few, given.sample, num_turns, sizes.seed, shorter, sizes.label).dialogues, sizes.seed
        )
    except UserError:
        if given.complete:
            raise
        return [], [], 0.0
    filler = " a" * max(1, sum(lengths) // len(lengths) - 1)
    turns = [
        [one.asked([filler] * turn, everywhere=everywhere) for one in some if turn < len(one.dialogue.turns)]
        for turn in range(num_turns)
    ]
    return some, [of for of in turns if of], wanted / len(some)


@dataclass
class Conversations:
    """How far the answers of a policy are. too_long, with_control_tokens: dialogues that could not go on."""

    answers: Answers
    too_long: list[str] = field(default_factory=list)
    with_control_tokens: list[str] = field(default_factory=list)

    def texts(self, at: int) -> list[str]:
        return [text for text, _ in self.answers[at]]


def converse(
    policy: Callable[[], Policy],
    some: Sequence[Instructed],
    conversations: Conversations,
    *,
    everywhere: bool,
    temperature: float,
    max_response_tokens: int,
    key: tuple[int | str, ...],
    goes_on: Callable[[str, bool], bool],
    advance: Callable[[int], None],
    checkpoint: Callable[[], None],
) -> None:
    """Has a policy answer the dialogues turn by turn, those side by side together, from where `conversations` are.

    policy: called once, if there is anything to do. everywhere: the instruction is in front of every turn, else of the
    first. goes_on: whether a dialogue does after an answer (its text, whether it is finished). The draws are seeded by
    (key, turn, the dialogue's id). checkpoint: called between chunks, when all that is answered stands in
    `conversations`.
    """
    from accord.engine.group import current
    from accord.engine.rollout import context_of, roll_out

    size = CHUNK * current().size
    loaded: Policy | None = None
    stopped = {*conversations.too_long, *conversations.with_control_tokens}
    for turn in range(max(len(one.dialogue.turns) for one in some)):
        for first in range(0, len(some), size):
            here = [
                at
                for at in range(first, min(first + size, len(some)))
                if turn < len(some[at].dialogue.turns)
                and len(conversations.answers[at]) == turn
                and some[at].dialogue.id not in stopped
                and (not turn or goes_on(*conversations.answers[at][-1]))
            ]
            if not here:
                continue
            loaded = loaded or policy()
            context = context_of(loaded.module.config)
            prompts: dict[int, Prompt] = {}
            for at in here:
                prompt = some[at].asked(conversations.texts(at), everywhere=everywhere)
                if loaded.template.control_token(prompt) is not None:
                    conversations.with_control_tokens.append(prompt.id)
                elif context is not None and len(loaded.template.prompt_ids(prompt)) + max_response_tokens > context:
                    conversations.too_long.append(prompt.id)
                else:
                    prompts[at] = prompt
            stopped |= {*conversations.too_long, *conversations.with_control_tokens}
            if prompts:
                rollout = roll_out(
                    loaded,
                    list(prompts.values()),
                    num_samples=1,
                    max_response_tokens=max_response_tokens,
                    temperature=temperature,
                    key=(*key, f"turn {turn}"),
                )
                for (at, prompt), (response,) in zip(prompts.items(), rollout.responses, strict=True):
                    conversations.answers[at].append([prompt.prefill + response.text, response.finished])
                    if loaded.template.control_token(prompt, [response]) is not None:
                        conversations.with_control_tokens.append(prompt.id)
                        stopped.add(prompt.id)
            advance(len(here))
            checkpoint()
