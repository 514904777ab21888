"""Whom a judge's questions are put to: here an OpenAI-compatible endpoint; `policy_asker` has a policy of one's own."""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Event
from typing import Any, Final, Protocol

from accord.collect.answer_log import AnswerLog, Reply
from accord.collect.reading import found_last
from accord.rewards.chat_json import ask_chat
from accord.rewards.http_json import Declined, Server
from accord.types import Message

ANSWERS: Final = "judge-answers"  # in the store
_SKIP: Final = "Shorten what it declines or leave it out; or set `skip_declined: true`, and it counts as unanswered."
_OPTIONAL: Final = ("temperature",)  # models that think first have but one
_TOP = 20  # tokens whose logprobs are asked for: as many as OpenAI gives


@dataclass(frozen=True, slots=True)
class Question:
    """labels: whose probabilities are wanted (none: the text is all). verdict: the regular expression that finds the
    label in what is written; None where it is all that is written."""

    messages: tuple[Message, ...]
    max_tokens: int
    labels: tuple[str, ...] = ()
    verdict: str | None = None


class Asker(Protocol):
    """`name`: of the model that answers, without a secret."""

    @property
    def name(self) -> str: ...

    def ask(self, questions: Sequence[Question]) -> Iterator[Reply | None]:
        """A reply to each question, in order; None where the question cannot be put to it. Raises UserError."""
        ...


@dataclass
class EndpointAsker:
    """server: whose URL ends in /chat/completions. model: as the endpoint calls it. concurrent: questions at once.

    Each answer is in the log before the next is asked for, so that a run that ended goes on without asking again.
    skip_declined: a question that the endpoint declines, as too long or by a filter, has no reply, unless it has never
    answered any; otherwise that is an error, too."""

    server: Server
    model: str
    log: AnswerLog
    concurrent: int = 4
    skip_declined: bool = False
    _without_logprobs: bool = field(default=False, init=False)  # the endpoint refuses them
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    @property
    def name(self) -> str:
        return self.model

    def ask(self, questions: Sequence[Question]) -> Iterator[Reply | None]:
        stop, answered = Event(), len(self.log) > 0
        with ThreadPoolExecutor(self.concurrent, thread_name_prefix="judge") as pool:
            asked = {question: pool.submit(self._ask, question, stop) for question in dict.fromkeys(questions)}
            try:
                for left, question in zip(reversed(range(len(questions))), questions, strict=True):
                    try:
                        reply = asked[question].result()
                    except Declined as declined:
                        if not self.skip_declined:
                            raise Declined(declined.what, where=declined.where, remedy=_SKIP) from None
                        if not left and not answered:
                            raise
                        reply = None
                    answered = answered or reply is not None
                    yield reply
            finally:
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, question: Question, stop: Event) -> Reply:
        messages = [{"role": one.role, "content": one.content} for one in question.messages]
        body: dict[str, Any] = {
            "model": self.model,
            "messages": messages,
            "temperature": 0,
            "max_tokens": question.max_tokens,
        }
        found_by = {} if question.verdict is None else {"verdict": question.verdict}
        key = AnswerLog.key(url=self.server.place, labels=list(question.labels), **found_by, **body)
        if (known := self.log.get(key)) is not None:
            return known
        reply = self._reply(self._answer(body, bool(question.labels), stop), question)
        self.log.add(key, reply)
        return reply

    def _answer(self, body: dict[str, Any], logprobs: bool, stop: Event) -> Any:
        if logprobs and not self._without_logprobs:
            try:
                return ask_chat(self.server, {**body, "logprobs": True, "top_logprobs": _TOP}, stop, _OPTIONAL)
            except Declined:
                pass
        answer = ask_chat(self.server, body, stop, _OPTIONAL)
        if logprobs:
            self._without_logprobs = True  # it takes the question, and not their being asked for
        return answer

    def _reply(self, answer: Any, question: Question) -> Reply:
        try:
            choice = answer["choices"][0]
            text = choice["message"]["content"] or ""
        except (LookupError, TypeError) as error:
            raise self.server.wrong("answered with what is no chat completion") from error
        if not isinstance(text, str):
            raise self.server.wrong("answered with a message that is no text")
        return Reply(text, label_logprobs(choice.get("logprobs"), text, question) if question.labels else None)


@dataclass
class RememberingAsker:
    """Another asker, whose replies are kept. known_by: what tells its model from others of the same name."""

    asker: Asker
    known_by: str
    log: AnswerLog

    @property
    def name(self) -> str:
        return self.asker.name

    def ask(self, questions: Sequence[Question]) -> Iterator[Reply | None]:
        keys = [AnswerLog.key(known_by=self.known_by, **asdict(question)) for question in questions]
        left = {key: one for key, one in zip(keys, questions, strict=True) if self.log.get(key) is None}
        new = zip(left, self.asker.ask(list(left.values())), strict=True)
        unanswered: set[str] = set()
        for key in keys:
            while (reply := self.log.get(key)) is None and key not in unanswered:
                at, found = next(new)
                if found is None:
                    unanswered.add(at)
                else:
                    self.log.add(at, found)
            yield reply


def endpoint_asker(
    endpoint: str,
    model: str,
    store: Path,
    *,
    kept_in: str = ANSWERS,
    key_env: str | None = None,
    timeout: float = 120.0,
    retries: int = 4,
    concurrent: int = 4,
    skip_declined: bool = False,
) -> EndpointAsker:
    """endpoint: the base URL of an API, as https://judge.example/v1. store: where what it answers is kept, in
    the folder `kept_in`. Raises UserError when the key is not there."""
    server = Server(endpoint.rstrip("/") + "/chat/completions", timeout, retries, key_env)
    server.check_key()
    name = hashlib.sha256(f"{server.place} {model}".encode()).hexdigest()[:16]
    return EndpointAsker(server, model, AnswerLog(store / kept_in / f"{name}.jsonl"), concurrent, skip_declined)


def label_logprobs(given: Any, text: str, question: Question) -> Mapping[str, float] | None:
    """The logprob of each label as one token, spaces around it or not, where the label stands: first, or where the
    question's `verdict` finds it. None where nothing can be read, and where a token may be the beginning of a longer
    label, as 1 of 10 for a tokenizer that splits numbers into digits.

    given: an endpoint's `logprobs` of a chat completion.
    """
    try:
        row = given["content"][0] if question.verdict is None else _token_at(given["content"], text, question.verdict)
        read = [(one["token"].strip(), float(one["logprob"])) for one in row["top_logprobs"]]
    except (LookupError, TypeError, ValueError, AttributeError):
        return None
    tokens = {token for token, _ in read}
    found = {
        label: math.log(sum(math.exp(logprob) for token, logprob in read if token == label))
        for label in question.labels
        if label in tokens
    }
    for label in found:
        longer = {one for one in question.labels if one != label and one.startswith(label)}
        if longer and not longer & tokens:
            return None
    return found or None


def _token_at(content: Sequence[Mapping[str, Any]], text: str, verdict: str) -> Mapping[str, Any]:
    """The token that holds what `verdict` finds in the text. Raises LookupError where there is none."""
    place = found_last(verdict, text)
    if place is None:
        raise LookupError(verdict)
    end, at = 0, len(text[: place[0]].encode(errors="replace"))
    for row in content:
        own = row.get("bytes")  # of a part of a character the token's text is none
        end += len(row["token"].encode(errors="replace") if own is None else own)
        if end > at:
            return row
    raise LookupError(verdict)
