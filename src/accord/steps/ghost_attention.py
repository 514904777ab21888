"""Ghost Attention (Llama 2, section 3.3): demonstrations that teach to hold to an instruction in a whole dialogue.

The instruction is put in front of every turn of the user, and the policy answers turn by turn. What is written as a
demonstration has it in the first turn alone, and of the answers the last one alone is imitated; what it follows is
context. Fine-tune on it with `sft`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from accord.data.records import RecordKind, write_records
from accord.errors import UserError
from accord.monitor.alarm import Alarm
from accord.steps.base import LATEST, Job, PolicyRef, PromptsRef, StepConfig, StepKind
from accord.steps.conversing import Constrained, Conversations, Instructed, converse, dialogues_of, expected
from accord.types import Demonstration, Response

if TYPE_CHECKING:
    from torch import Tensor

    from accord.engine.sizes import Sizes
    from accord.engine.workload import Work
    from accord.models.policy import Policy

PART: Final = "train"
DIALOGUES: Final = "dialogues.jsonl"
Left = str | None  # why a dialogue is no demonstration


class Config(StepConfig, Constrained):
    """prompts: what the user says: conversations, of which only the user's turns are taken, and prompts of one turn,
    which are put together. policy: who answers. num_turns: of a dialogue; longer conversations are cut, and those of
    two turns or more are taken as they are. temperature: of sampling. keep_truncated: an answer that was cut off is
    taken as it is; else its dialogue is left out. only_kept: dialogues whose last answer breaks the instruction, as the
    constraints' checks find, are left out; those that cannot be checked stay."""

    prompts: PromptsRef
    policy: PolicyRef = LATEST
    num_turns: int = Field(4, ge=2, le=100)
    temperature: float = Field(1.0, ge=0)
    keep_truncated: bool = False
    only_kept: bool = False

    @staticmethod
    def parts() -> Mapping[str, RecordKind]:
        return {PART: "demonstrations"}


def run(job: Job) -> None:
    """Writes train.jsonl, the demonstrations; dialogues.jsonl, every dialogue as the policy answered it, with the
    instruction, what the checks found, and why it was left out; and summary.json."""
    from accord.models.compute import compute_dtype
    from accord.models.policy import Policy
    from accord.monitor.alarms import as_json

    config: Config = job.config
    checkpoint = job.work.resume()
    some, counts = dialogues_of(job, config.num_turns, shorter=True)
    conversations = Conversations(**checkpoint.state) if checkpoint else Conversations([[] for _ in some])
    chunks = checkpoint.iteration if checkpoint else 0

    def load() -> Policy:
        return Policy.load(job.input("policy").model, compute_dtype())

    def state() -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        return {}, vars(conversations)

    def save() -> None:
        nonlocal chunks
        chunks += 1
        job.work.checkpoint_or_stop(chunks, state)

    total, done = sum(len(one.dialogue.turns) for one in some), sum(map(len, conversations.answers))
    with job.work.progress(f"{job.name}: answering", total, "turns", start=done) as progress:
        converse(
            load,
            some,
            conversations,
            everywhere=True,
            temperature=config.temperature,
            max_response_tokens=config.max_response_tokens,
            key=(job.seed, "answers"),
            goes_on=lambda text, finished: _fault(config, text, finished) is None,
            advance=progress.advance,
            checkpoint=save,
        )
    left = [_left_out(config, one, conversations, at) for at, one in enumerate(some)]
    kept = [[one.instruction.kept(text) for text in conversations.texts(at)] for at, one in enumerate(some)]
    demonstrations = [
        _demonstration(job.name, one, conversations.answers[at]) for at, one in enumerate(some) if left[at] is None
    ]
    _write_dialogues(job, some, conversations, kept, left)
    num = Counter(left)
    found = {
        "num_dialogues": len(some),
        "num_demonstrations": len(demonstrations),
        **{f"num_{why}": num[why] for why in ("truncated", "empty", "broken", "too_long", "with_control_tokens")},
        **counts,
    }
    if not demonstrations:
        told = ", ".join(
            f"{count} {why.removeprefix('num_').replace('_', ' ')}"
            for why, count in found.items()
            if count and why in _WHY
        )
        raise UserError(
            f"none of the {len(some)} dialogues can be imitated: {told}",
            where=job.name,
            remedy="Raise max_response_tokens, lower num_turns, take another policy, or set `keep_truncated: true`.",
        )
    write_records(job.work.out / f"{PART}.jsonl", "demonstrations", demonstrations)
    checked = [one for of in kept for one in of if one is not None]
    finished = [is_finished for of in conversations.answers for _, is_finished in of]
    shares = {"kept": sum(checked) / len(checked) if checked else None, "finished": sum(finished) / len(finished)}
    raised = [] if config.only_kept else _broken(checked)
    job.write_json("summary.json", {**found, **shares, "alarms": as_json(raised)})


_WHY: Final = {f"num_{why}" for why in ("truncated", "empty", "broken", "too_long", "with_control_tokens")}


def _broken(checked: Sequence[bool]) -> list[Alarm]:
    """checked: of each answer that could be, whether it holds to the instruction, which stands in front of it."""
    if not checked or 2 * sum(checked) >= len(checked):
        return []
    what = (
        f"{sum(checked)} of {len(checked)} answers hold to the instruction that stands in front of them: the others "
        "teach to break it. Set `only_kept: true`, or take a policy that follows instructions"
    )
    return [Alarm("instruction_broken", what, 0)]


def _fault(config: Config, text: str, finished: bool) -> Left:
    """Why nothing can follow an answer."""
    if not text.strip():
        return "empty"
    return "truncated" if not finished and not config.keep_truncated else None


def _left_out(config: Config, one: Instructed, conversations: Conversations, at: int) -> Left:
    answers = conversations.answers[at]
    fault = _fault(config, *answers[-1]) if answers else None
    if fault is not None:
        return fault
    for why, ids in (("too_long", conversations.too_long), ("with_control_tokens", conversations.with_control_tokens)):
        if one.dialogue.id in ids:
            return why
    if not _own(one, answers):
        return "empty"
    return "broken" if config.only_kept and one.instruction.kept(answers[-1][0]) is False else None


def _own(one: Instructed, answers: Sequence[Sequence[Any]]) -> str:
    """The last answer behind its prefill. White space at its ends is not taught: templates and tokenizers join it to
    what stands around it."""
    prefill = one.dialogue.turns[-1].prefill
    text = str(answers[-1][0])[len(prefill) :]
    return text.rstrip() if prefill and text.strip() else text.strip()


def _demonstration(step: str, one: Instructed, answers: Sequence[Sequence[Any]]) -> Demonstration:
    prompt = one.asked([text for text, _ in answers[:-1]], everywhere=False)
    return Demonstration(replace(prompt, id=f"{step}-{prompt.id}"), Response(_own(one, answers), answers[-1][1]))


def _write_dialogues(
    job: Job,
    some: Sequence[Instructed],
    conversations: Conversations,
    kept: Sequence[Sequence[bool | None]],
    left: Sequence[Left],
) -> None:
    with (job.work.out / DIALOGUES).open("w", encoding="utf-8") as file:
        for at, one in enumerate(some):
            row = {
                "id": f"{job.name}-{one.dialogue.id}",
                "instruction": one.instruction.text,
                "kinds": one.instruction.kinds,
                "turns": [turn.text for turn in one.dialogue.turns],
                "answers": conversations.texts(at),
                "kept": kept[at],
                "left_out": left[at],
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def work(config: Config, sizes: Sizes) -> Work:
    """What run() will do. Of what it writes, only the lengths are as they will be."""
    from accord.engine.sizes import Records
    from accord.engine.workload import Phase, Work, rollout_trees, sampling

    lengths = sizes.responses("policy", config.max_response_tokens)
    some, turns, scale = expected(config, sizes, config.num_turns, lengths, everywhere=True, shorter=True)
    found, cache = [], 0
    for prompts in turns:
        own, _ = rollout_trees(sizes.template, prompts, 1, lengths, sizes.seed)
        sampled, places = sampling(own, sizes.dimensions, scale)
        found += sampled
        cache = max(cache, places)
    filler = " a" * max(1, sum(lengths) // len(lengths) - 1)
    made = [
        Demonstration(one.asked([filler] * (len(one.dialogue.turns) - 1), everywhere=False), Response(filler))
        for one in some
    ]
    makes = {PART: Records("demonstrations", made, round(scale * len(some)))}
    return Work([Phase(found, frozen=[sizes.policy], cache=cache)], loaded=[sizes.policy], makes=makes)


STEP = StepKind(produces="data", version=1, config=Config, run=run, work=work, together=True)
