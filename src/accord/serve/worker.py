"""A policy that answers: requests come from any thread and are written together, a token of each at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Literal

from accord.engine.rollout import context_of
from accord.engine.sampler import Request, Sample, Sampler
from accord.errors import UserError
from accord.models.policy import Policy
from accord.text.stops import StopTexts
from accord.text.streaming import StreamDecoder
from accord.types import Prompt

NUM_SLOTS = 32
DEFAULT_TOKENS = 512  # of a response, where nobody says how many

Finish = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Question:
    """num_samples: responses to the prompt, at most NUM_SLOTS. stops: texts at which a response is cut off."""

    prompt: Prompt
    num_samples: int
    max_response_tokens: int
    temperature: float
    seed: int
    stops: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """Of response k, text that is new. finish: why it is over; None: it goes on. num_tokens: of it so far."""

    k: int
    text: str
    finish: Finish | None
    num_tokens: int


class Failed(Exception):
    """What a waiting request is told when the policy cannot go on."""


Deliver = Callable[[Piece | Failed], None]


@dataclass(slots=True)
class _Written:
    """A response on its way to who asked."""

    decoder: StreamDecoder
    stops: StopTexts
    over: bool = False


class Worker:
    """deliver: called in the worker's thread with each piece, the last of each response has a finish."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.context = context_of(policy.module.config)
        self._sampler = Sampler(policy, num_slots=NUM_SLOTS, max_response_tokens=DEFAULT_TOKENS)
        self._inbox: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._questions: dict[int, tuple[Question, Deliver, list[_Written]]] = {}
        self._next = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def num_tokens(self, prompt: Prompt) -> int:
        with self._lock:
            return len(self.policy.template.prompt_ids(prompt))

    def ask(self, question: Question, deliver: Deliver) -> int:
        """Returns a number for `cancel`."""
        with self._lock:
            number, self._next = self._next, self._next + 1
        self._inbox.put(lambda: self._begin(number, question, deliver))
        return number

    def cancel(self, number: int) -> None:
        """Nobody waits for it any more."""
        self._inbox.put(lambda: self._end(number))

    def close(self) -> None:
        self._inbox.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                work = self._inbox.get(block=not self._sampler.busy)
            except Empty:
                self._step()
                continue
            if work is None:
                return
            try:
                work()
            except Exception as error:  # nobody may wait for ever
                self._fail(error)

    def _begin(self, number: int, question: Question, deliver: Deliver) -> None:
        try:
            with self._lock:
                ids = self.policy.template.prompt_ids(question.prompt)
        except UserError as error:  # of the chat template
            deliver(Failed(error.what))
            return
        key = (question.seed, "serve")
        request = Request(ids, question.num_samples, key, question.max_response_tokens, question.temperature)
        written = [
            _Written(StreamDecoder(self.policy.template, ids[-1:]), StopTexts(question.stops))
            for _ in range(question.num_samples)
        ]
        self._questions[number] = (question, deliver, written)
        self._sampler.submit(request, number)

    def _end(self, number: int) -> None:
        if self._questions.pop(number, None):
            self._sampler.cancel(number)

    def _step(self) -> None:
        try:
            ended = self._sampler.step()
            for sample in (*self._sampler.active, *ended):
                self._hand_out(sample, final=any(sample is one for one in ended))
        except Exception as error:  # of memory, most likely: others may come
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Tells whoever waits, and begins anew."""
        for _, deliver, _ in self._questions.values():
            with suppress(RuntimeError):  # whose loop is closed
                deliver(Failed(f"the model stopped: {error}"))
        self._questions.clear()
        self._sampler = Sampler(self.policy, num_slots=NUM_SLOTS, max_response_tokens=DEFAULT_TOKENS)

    def _hand_out(self, sample: Sample, *, final: bool) -> None:
        if sample.request not in self._questions:
            return
        _, deliver, written = self._questions[sample.request]
        own = written[sample.k]
        if own.over:
            return
        text = own.stops.feed(own.decoder.feed(sample.ids, final=final), final=final)
        own.over = final or own.stops.stopped
        finish: Finish | None = None
        if own.over:
            finish = "stop" if sample.finished or own.stops.stopped else "length"
        if text or finish:
            deliver(Piece(sample.k, text, finish, len(sample.ids)))
        if all(one.over for one in written):
            self._end(sample.request)
