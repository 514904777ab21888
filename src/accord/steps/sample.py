"""Responses of one or several policies to prompts, as comparisons that nobody has judged yet.

Every prompt gets its responses from the pairs of policy and temperature in an order drawn for it, so that each meets
each, and none always stands first. Who wrote what stands in origins.jsonl, and not where an annotator would see it.
Responses go to the disk piece by piece, and are never in memory all at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from heapq import merge
from itertools import groupby, product
from operator import itemgetter
from typing import TYPE_CHECKING, Annotated, Any, TextIO

from pydantic import Field, field_validator

from accord.data.records import JudgedComparison, RecordKind, write_records
from accord.engine.ending import Ending
from accord.engine.engines import NUM_SLOTS, EngineName
from accord.errors import UserError
from accord.seeds import derive_seed
from accord.steps.base import LATEST, Caution, Job, PlannedStep, PolicyRef, PromptsRef, StepConfig, StepKind
from accord.steps.ending import check_ending
from accord.steps.sampled import asked, check_engine, expected_prompts
from accord.steps.too_long import too_long
from accord.store.rows import Rows
from accord.strict import Later
from accord.types import Comparison, Prompt, Response

if TYPE_CHECKING:
    from torch import Tensor

    from accord.engine.sampling import Engine
    from accord.engine.sizes import Sizes
    from accord.engine.workload import Work
    from accord.models.policy import Policy
    from accord.monitor.alarm import Alarm

PART = "train"
ORIGINS = "origins.jsonl"
# Responses of each process between two points where the step can be stopped and gone on with: with so many, the slots
# of those that end early are filled again. A larger piece gains little, and keeps a stop waiting.
CHUNK = 2 * NUM_SLOTS


class Config(StepConfig, Ending):
    """prompts: what is answered. skip_prompts: the first so many of them are left to others. num_prompts: so many after
    those (null: all). policies: who answers. temperatures: at which each of them answers. num_responses: to each
    prompt. max_response_tokens: a longer response is cut off. end_at, end_after: as the steps that learn on
    policy have them. engine: "vllm" samples with vLLM (`make install-vllm`), which draws other responses."""

    prompts: PromptsRef
    policies: tuple[PolicyRef, ...] = Field((LATEST,), min_length=1)
    temperatures: tuple[float, ...] = Field((1.0,), min_length=1)
    skip_prompts: int = Field(0, ge=0)
    num_prompts: int | None = Field(None, gt=0)
    num_responses: int = Field(2, gt=1)
    max_response_tokens: int = Field(128, gt=0)
    engine: Annotated[EngineName, Later()] = "torch"

    @field_validator("temperatures")
    @classmethod
    def _positive(cls, temperatures: tuple[float, ...]) -> tuple[float, ...]:
        if min(temperatures) <= 0:
            raise ValueError("a temperature is above 0: at 0 all responses of a policy would be the same")
        return temperatures

    @staticmethod
    def parts() -> Mapping[str, RecordKind]:
        return {PART: "comparisons"}


def run(job: Job) -> None:
    """Writes train.jsonl, the comparisons; origins.jsonl; and summary.json. A comparison whose responses are all equal
    is left out, and counted; and so is a prompt with a control token in a text, or to which a policy's context has no
    room for a response."""
    from accord.engine.group import current
    from accord.engine.rollout import answerable, roll_out, shown_samples
    from accord.engine.writing import written_by

    config: Config = job.config
    checkpoint = job.work.resume()
    policies = job.inputs["policies"]
    given = job.input("prompts").read("prompts")
    wanted_prompts = asked(config, given, job.name)
    folders = [policy.model for policy in policies]
    prompts, left_out = answerable(wanted_prompts, folders, config.max_response_tokens, job.name)
    lost = too_long(job.name, left_out, len(prompts), "prompts")
    origins = list(product(range(len(policies)), config.temperatures))
    dealt = [deal(len(origins), config.num_responses, derive_seed(job.seed, prompt.id)) for prompt in prompts]
    streams = _streams(job, len(origins), dealt, checkpoint.state.get("streams", []) if checkpoint else [])
    num_written = sum(stream.num * len(stream.rows) for stream in streams)
    loaded: tuple[int, Policy | Engine] | None = None

    def state() -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        return {}, {"streams": [stream.rows.state() for stream in streams]}

    total = len(prompts) * config.num_responses
    with (
        ExitStack() as opened,
        job.work.progress(f"{job.name}: sampling", total, "responses", start=num_written) as progress,
    ):
        for stream in streams:
            which, temperature = origins[stream.origin]
            size = max(1, CHUNK * current().size // stream.num)
            for first in range(len(stream.rows), len(stream.places), size):
                some = [prompts[i] for i, _ in stream.places[first : first + size]]
                if loaded is None or loaded[0] != which:
                    loaded = None  # one in memory at a time
                    opened.close()
                    loaded = (which, opened.enter_context(written_by(config.engine, policies[which].model)))
                rollout = roll_out(
                    loaded[1],
                    some,
                    num_samples=stream.num,
                    max_response_tokens=config.max_response_tokens,
                    temperature=temperature,
                    ending=config,
                    key=(job.seed, policies[which].name, str(temperature)),
                    advance=progress.advance,
                )
                stream.rows.append([[[one.text, one.finished] for one in of_one] for of_one in rollout.responses])
                num_written += stream.num * len(some)
                job.work.show(num_written, shown_samples(rollout.prompts, rollout.responses))
                del rollout  # one in memory at a time
                job.work.checkpoint_or_stop(num_written, state)
    names = [{"policy": policies[which].name, "temperature": temperature} for which, temperature in origins]
    who = [[names[o] for o in of_one] for of_one in dealt]
    job.work.lead(lambda: _write(job, prompts, streams, who, left_out, lost))


@dataclass(frozen=True, slots=True)
class _Stream:
    """What an origin writes. places: the prompts that have `num` responses of it, in order, with the places of these.
    rows: of each of them that is done, [text, finished] of each response."""

    origin: int
    num: int
    places: Sequence[tuple[int, list[int]]]
    rows: Rows


def _streams(
    job: Job, num_origins: int, dealt: Sequence[Sequence[int]], states: Sequence[Mapping[str, int]]
) -> list[_Stream]:
    """states: of the rows, as a checkpoint has them; empty without one."""
    found: list[_Stream] = []
    for origin in range(num_origins):
        places = [(i, [k for k, who in enumerate(of_prompt) if who == origin]) for i, of_prompt in enumerate(dealt)]
        for num in sorted({len(ks) for _, ks in places} - {0}):
            own, at = [(i, ks) for i, ks in places if len(ks) == num], len(found)
            found.append(_Stream(origin, num, own, Rows(job.work, f"stream-{at:03d}", states[at] if states else None)))
    return found


def _by_prompt(streams: Sequence[_Stream]) -> Iterator[tuple[Response, ...]]:
    """The responses to each prompt, one prompt at a time."""

    def said(stream: _Stream) -> Iterator[tuple[int, dict[int, Response]]]:
        for (i, places), row in zip(stream.places, stream.rows.read(), strict=True):
            yield i, {k: Response(text, finished) for k, (text, finished) in zip(places, row, strict=True)}

    for _, of_prompt in groupby(merge(*map(said, streams), key=itemgetter(0)), key=itemgetter(0)):
        made = {k: response for _, of_stream in of_prompt for k, response in of_stream.items()}
        yield tuple(made[k] for k in range(len(made)))


def _write(
    job: Job,
    prompts: Sequence[Prompt],
    streams: Sequence[_Stream],
    origins: Sequence[Sequence[Mapping[str, Any]]],
    left_out: Mapping[str, int],
    lost: Sequence[Alarm],
) -> None:
    """The step's files, a prompt at a time. origins: [P][K]"""
    from accord.monitor.alarms import as_json

    num_kept = num_finished = 0

    def unequal(file: TextIO) -> Iterator[JudgedComparison]:
        nonlocal num_kept, num_finished
        for prompt, responses, of_one in zip(prompts, _by_prompt(streams), origins, strict=True):
            num_finished += sum(response.finished for response in responses)
            if len({response.text for response in responses}) > 1:
                num_kept += 1
                comparison = Comparison(f"{job.name}-{prompt.id}", prompt, responses)
                file.write(json.dumps({"id": comparison.id, "responses": of_one}) + "\n")
                yield comparison, ()

    with (job.work.out / ORIGINS).open("w", encoding="utf-8") as file:
        write_records(job.work.out / f"{PART}.jsonl", "comparisons", unequal(file))
    if not num_kept:
        raise UserError(
            f"in each of the {len(prompts)} comparisons all responses are equal",
            where=job.name,
            remedy="Raise a temperature or max_response_tokens, or name other policies.",
        )
    summary = {
        "num_comparisons": num_kept,
        "num_equal": len(prompts) - num_kept,
        **left_out,
        "finished": num_finished / (len(prompts) * job.config.num_responses),
        "alarms": as_json(lost),
    }
    job.write_json("summary.json", summary)


def deal(num_origins: int, num_responses: int, seed: int) -> tuple[int, ...]:
    """Which origin writes each response to a prompt: all of them in a drawn order, and over again."""
    import numpy as np

    generator = np.random.Generator(np.random.Philox(key=seed))
    rounds = -(-num_responses // num_origins)
    dealt = [int(o) for _ in range(rounds) for o in generator.permutation(num_origins)]
    return tuple(dealt[:num_responses])


def work(config: Config, sizes: Sizes) -> Work:
    """What run() will do. Of what it writes, only the lengths are as they will be."""
    from accord.engine.sizes import Records
    from accord.engine.workload import Phase, Work, rollout_trees, sampling

    given = sizes.records("prompts", "prompts")
    records = expected_prompts(config, given, sizes.label)
    num = len(config.policies)
    found, cache = [], 0
    made = []
    for at in range(num):
        expected = sizes.responses("policies", config.max_response_tokens, at)
        own, _ = rollout_trees(sizes.template, records.sample, config.num_responses, expected)
        chunk = max(1, CHUNK // config.num_responses)
        for first in range(0, len(own), chunk):
            sampled, places = sampling(own[first : first + chunk], sizes.dimensions, records.scale / num)
            found += sampled
            cache = max(cache, places)
        if at == 0:
            made = [
                (Comparison(prompt.id, prompt, tuple(Response(" a" * (len(b.ids) - 1)) for b in tree.branches)), ())
                for prompt, tree in zip(records.sample, own, strict=True)
            ]
    phase = Phase(found, frozen=[sizes.policy], cache=cache)
    makes = {PART: Records("comparisons", made, records.total)}
    return Work([phase], loaded=[sizes.policy] * num, makes=makes)


def check(step: PlannedStep) -> Iterable[Caution]:
    """What does not go together."""
    check_ending(step)
    check_engine(step)
    return ()


STEP = StepKind(produces="data", version=2, config=Config, run=run, work=work, check=check, together=True)
