"""A policy that answers: requests come from any thread and are written together, a token of each at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Literal

import numpy as np

from accord.engine.policy_engine import engine_of
from accord.engine.readings import Reading, Text
from accord.engine.sampling import Engine, Request, Sample, Sampling
from accord.models.policy import Policy
from accord.text.stops import StopTexts
from accord.text.streaming import StreamDecoder
from accord.text.token_bytes import TokenBytes
from accord.types import Prompt

NUM_SLOTS = 64
DEFAULT_TOKENS = 512  # of a response, where nobody says how many
_READ_TOKENS = 4096  # of prompts whose readings are asked for, in one turn; between turns responses are written on
_STEP_READ_TOKENS = 1024  # of prompts that are answered, between two tokens of the others

Finish = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Question:
    """num_samples: responses to the prompt, at most NUM_SLOTS. max_response_tokens: 0 for none. stops: texts at which a
    response is cut off. num_top: as the sampler's Request has it. read_prompt: the prompt's tokens are read, too."""

    prompt_ids: tuple[int, ...]
    num_samples: int
    max_response_tokens: int
    temperature: float
    seed: int
    stops: tuple[str, ...] = ()
    top_p: float = 1.0
    num_top: int | None = None
    read_prompt: bool = False

    @property
    def is_read_only(self) -> bool:
        """Whether reading the prompt gives all of the answer, as when likelihoods of texts are asked for."""
        greedy = self.max_response_tokens == 1 and self.temperature == 0
        return self.read_prompt and (greedy or self.max_response_tokens == 0)

    @property
    def text(self) -> Text:
        """What is read of the prompt, and of what follows it."""
        follow = self.is_read_only and self.max_response_tokens == 1
        return Text(self.prompt_ids, self.num_top or 0, follow=follow)


@dataclass(frozen=True, slots=True)
class Piece:
    """Of response k, text that is new. finish: why it is over; None: it goes on. num_tokens: of it so far. readings: of
    the tokens since the last piece, if they are asked for."""

    k: int
    text: str
    finish: Finish | None
    num_tokens: int
    readings: tuple[Reading, ...] = ()


@dataclass(frozen=True, slots=True)
class PromptRead:
    """Readings of the prompt's tokens but the first. It comes before all pieces."""

    readings: tuple[Reading, ...]


class Failed(Exception):
    """What a waiting request is told when the policy cannot go on."""


Deliver = Callable[[Piece | PromptRead | Failed], None]


@dataclass(slots=True)
class _Written:
    """A response on its way to who asked."""

    decoder: StreamDecoder
    stops: StopTexts
    over: bool = False
    num_read: int = 0  # readings that were handed out


@dataclass(slots=True)
class _Long:
    """A prompt that is read in pieces."""

    number: int
    pieces: Iterator[list[Reading]]
    readings: list[Reading] = field(default_factory=list)


class Worker:
    """deliver: called in the worker's thread with each piece, the last of each response has a finish."""

    def __init__(self, policy: Policy | Engine) -> None:
        self.engine = engine_of(policy)
        self.template = self.engine.template
        self.context = self.engine.context
        self.num_vocabulary = self.engine.num_vocabulary
        self.token_bytes = TokenBytes(self.template.tokenizer)
        self._sampler = self._new_sampler()
        self._inbox: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._questions: dict[int, tuple[Question, Deliver, list[_Written]]] = {}
        self._unread: deque[int] = deque()  # questions whose prompts are to be read
        self._long: _Long | None = None  # the first of these
        self._next = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def prompt_ids(self, prompt: Prompt) -> tuple[int, ...]:
        """Raises UserError for what the chat template refuses."""
        with self._lock:
            return self.template.prompt_ids(prompt)

    def plain_ids(self, text: str, *, marked: bool) -> tuple[int, ...]:
        """As `Template.plain_ids`."""
        with self._lock:
            return self.template.plain_ids(text, marked=marked)

    def ask(self, question: Question, deliver: Deliver) -> int:
        """Returns a number for `cancel`."""
        with self._lock:
            number, self._next = self._next, self._next + 1
        self._inbox.put(lambda: self._begin(number, question, deliver))
        return number

    def cancel(self, number: int) -> None:
        """Nobody waits for it any more."""
        self._inbox.put(lambda: self._end(number))

    def give_up(self, why: str) -> None:
        """Whoever waits is told why, and not answered."""
        self._inbox.put(lambda: self._fail(why))

    def close(self) -> None:
        self._inbox.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                work = self._inbox.get(block=not (self._sampler.busy or self._unread))
            except Empty:  # all that came at once is known: prompts are read together, and responses begin together
                self._work(self._read if self._unread else self._step)
                continue
            if work is None:
                return
            self._work(work)

    def _work(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # of memory, most likely: nobody may wait for ever, and others may come
            self._fail(f"the model stopped: {error}")

    def _new_sampler(self) -> Sampling:
        return self.engine.sampling(
            num_slots=NUM_SLOTS,
            max_response_tokens=DEFAULT_TOKENS,
            max_read_tokens=_STEP_READ_TOKENS,
        )

    def _begin(self, number: int, question: Question, deliver: Deliver) -> None:
        written = [
            _Written(StreamDecoder(self.template, question.prompt_ids[-1:]), StopTexts(question.stops))
            for _ in range(question.num_samples)
        ]
        self._questions[number] = (question, deliver, written)
        if question.read_prompt:
            self._unread.append(number)
        elif question.max_response_tokens:
            self._submit(number, question)
        else:
            self._give(number, [])

    def _submit(self, number: int, question: Question) -> None:
        request = Request(
            question.prompt_ids,
            question.num_samples,
            (question.seed, "serve"),
            question.max_response_tokens,
            question.temperature,
            question.top_p,
            question.num_top,
        )
        self._sampler.submit(request, number)

    def _end(self, number: int) -> None:
        if self._questions.pop(number, None):
            self._sampler.cancel(number)

    def _read(self) -> None:
        """Reads waiting prompts in one pass, as many as a turn may have tokens, or a piece of a longer one."""
        self._unread = deque(number for number in self._unread if number in self._questions)
        if self._long is not None and self._long.number not in self._questions:
            self._long = None
        if self._unread and self._is_long(self._unread[0]):
            self._read_piece(self._unread[0])
        else:
            self._read_whole()
        if self._sampler.busy:
            self._step()

    def _is_long(self, number: int) -> bool:
        return len(self._questions[number][0].prompt_ids) > _READ_TOKENS

    def _read_whole(self) -> None:
        taken: list[int] = []
        num_tokens = 0
        while self._unread and num_tokens < _READ_TOKENS and not self._is_long(self._unread[0]):
            taken.append(self._unread.popleft())
            num_tokens += len(self._questions[taken[-1]][0].prompt_ids)
        texts = [self._questions[number][0].text for number in taken]
        for number, readings in zip(taken, self.engine.read(texts), strict=True):
            self._was_read(number, readings)

    def _read_piece(self, number: int) -> None:
        if self._long is None:
            self._long = _Long(number, self.engine.read_in_pieces(self._questions[number][0].text, _READ_TOKENS))
        piece = next(self._long.pieces, None)
        if piece is not None:
            self._long.readings += piece
            return
        readings, self._long = self._long.readings, None
        self._unread.popleft()
        self._was_read(number, readings)

    def _was_read(self, number: int, readings: list[Reading]) -> None:
        question, deliver, _ = self._questions[number]
        num_given = len(question.prompt_ids) - 1
        deliver(PromptRead(tuple(readings[:num_given])))
        if question.is_read_only:
            self._give(number, readings[num_given:])
        else:
            self._submit(number, question)

    def _give(self, number: int, readings: list[Reading]) -> None:
        """Ends all responses with the tokens that were read: one or none."""
        question = self._questions[number][0]
        ids = [reading.token for reading in readings]
        finished = ids[-1:] == [self.template.end_id]
        own = [] if question.num_top is None else readings
        for k in range(question.num_samples):
            sample = Sample(number, k, np.empty(0), 0.0, ids, [0.0] * len(ids), finished, readings=own)
            self._hand_out(sample, final=True)

    def _step(self) -> None:
        ended = self._sampler.step()
        for sample in (*self._sampler.active, *ended):
            self._hand_out(sample, final=any(sample is one for one in ended))

    def _fail(self, why: str) -> None:
        """Tells whoever waits, and begins anew."""
        for _, deliver, _ in self._questions.values():
            with suppress(RuntimeError):  # whose loop is closed
                deliver(Failed(why))
        self._questions.clear()
        self._unread.clear()
        self._long = None
        self._sampler = self._new_sampler()

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
            deliver(Piece(sample.k, text, finish, len(sample.ids), tuple(sample.readings[own.num_read :])))
            own.num_read = len(sample.readings)
        if all(one.over for one in written):
            self._end(sample.request)
