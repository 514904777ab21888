"""What a policy writes to many prompts at once, each with its own limit, temperature and texts that end it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from accord.engine.rollout import context_of
from accord.engine.sampler import Request, Sample, Sampler
from accord.models.policy import Policy
from accord.text.stops import StopTexts
from accord.text.streaming import StreamDecoder
from accord.text.template import Template
from accord.types import Prompt, Response

_NUM_SLOTS = 64


@dataclass(frozen=True, slots=True)
class Asked:
    """ids: the prompt's tokens. key: what the draws are seeded by. temperature: 0 takes the most probable token.
    stops: texts at whose first occurrence the response is cut off."""

    ids: tuple[int, ...]
    max_tokens: int
    key: tuple[int | str, ...]
    temperature: float = 0.0
    top_p: float = 1.0
    stops: tuple[str, ...] = ()


def asked(policy: Policy, prompt: Prompt, max_tokens: int, *, temperature: float = 0.0, seed: int = 0) -> Asked | None:
    """A conversation, whose answer may end where the model's context does. None when it leaves no room at all."""
    ids, context = policy.template.prompt_ids(prompt), context_of(policy.module.config)
    room = max_tokens if context is None else min(max_tokens, context - len(ids))
    return Asked(ids, room, (seed, "benchmark", prompt.id), temperature) if room > 0 else None


def write(
    policy: Policy, questions: Sequence[Asked | None], *, advance: Callable[[int], None] = lambda _: None
) -> list[Response]:
    """A response to each, in order; nothing, unfinished, to None. `advance` is told how many have just ended."""
    written = [Response("", finished=False) for _ in questions]
    given = {i: one for i, one in enumerate(questions) if one is not None}
    if len(given) < len(questions):
        advance(len(questions) - len(given))
    if not given:
        return written
    most = max(one.max_tokens for one in given.values())
    sampler = Sampler(policy, num_slots=min(_NUM_SLOTS, len(given)), max_response_tokens=most)
    for i, one in sorted(given.items(), key=lambda item: (len(item[1].ids), item[0])):
        sampler.submit(Request(one.ids, 1, one.key, one.max_tokens, one.temperature, one.top_p), i)
    watched = {i: _Watch(policy.template, one) for i, one in given.items() if one.stops}
    while sampler.busy:
        ended = sampler.step()
        for sample in ended:
            written[sample.request] = _response(policy.template, given[sample.request], sample)
            watched.pop(sample.request, None)
        for sample in sampler.active:
            if sample.request in watched and watched[sample.request].stops(sample):
                sampler.cancel(sample.request)
        if ended:
            advance(len(ended))
    return written


class _Watch:
    """Whether a response has come to a text that ends it."""

    def __init__(self, template: Template, question: Asked) -> None:
        self._decoder = StreamDecoder(template, question.ids[-1:])
        self._stops = StopTexts(question.stops)

    def stops(self, sample: Sample) -> bool:
        self._stops.feed(self._decoder.feed(sample.ids))
        return self._stops.stopped


def _response(template: Template, question: Asked, sample: Sample) -> Response:
    text = template.text(sample.ids, question.ids[-1:])
    ends = [at for stop in question.stops if stop and (at := text.find(stop)) >= 0]
    return Response(text[: min(ends)] if ends else text, sample.finished or bool(ends))
