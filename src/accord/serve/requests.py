"""What requests have in common, as OpenAI's clients write them. Fields that are not known are ignored."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from accord.serve.errors import Refusal
from accord.serve.worker import NUM_SLOTS, Question, Worker
from accord.types import Message, Prompt, Role

MOST_TOP = 20  # most probable tokens that a log-probability is accompanied by
_COLDEST = 1e-3
_MOST_TOKENS = 1 << 16  # of a response, where the model's config does not say how many it can write


class Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class TextPart(Lenient):
    type: Literal["text"]
    text: str


class ChatMessage(Lenient):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    @property
    def message(self) -> Message:
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return Message(_role(self.role), text)


def _role(role: str) -> Role:
    return "system" if role in ("system", "developer") else ("user" if role == "user" else "assistant")


def prompt_of(asked: Sequence[ChatMessage], *, go_on: bool, param: str = "messages") -> Prompt:
    """go_on: a last message of the assistant's is the beginning of the response. Raises Refusal for what cannot be
    answered, rather than to answer something else."""
    messages = [one.message for one in asked]
    last = messages[-1]
    if last.role != "assistant":
        return Prompt("chat", tuple(messages))
    if not go_on:
        what = "the last message is the assistant's: add one of the user's, or set continue_final_message"
        raise Refusal(what, param)
    if len(messages) < 2 or messages[-2].role == "assistant":
        raise Refusal("a message of the user's must stand before the last one, the assistant's", param)
    return Prompt("chat", tuple(messages[:-1]), last.content)


class StreamOptions(Lenient):
    include_usage: bool | None = None


class SamplingRequest(Lenient):
    """What both kinds of completion take."""

    model: str
    temperature: float | None = Field(default=None, ge=0, le=100)
    top_p: float | None = Field(default=None, gt=0, le=1)
    n: int | None = Field(default=None, ge=1, le=NUM_SLOTS)
    seed: int | None = None
    stop: Annotated[list[str], Field(max_length=64)] = []
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @field_validator("stop", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        if value is None:
            return []
        return [value] if isinstance(value, str) else value

    @property
    def num_samples(self) -> int:
        return self.n or 1

    @property
    def wants_usage(self) -> bool:
        """As a last event of a stream."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def question(
        self,
        worker: Worker,
        prompt_ids: tuple[int, ...],
        *,
        max_tokens: int,
        num_top: int | None,
        read_prompt: bool = False,
        param: str,
    ) -> Question:
        """max_tokens: wanted; fewer where the model's context ends. Raises Refusal for a prompt that is too long."""
        num, context = len(prompt_ids), worker.context
        room = _MOST_TOKENS if context is None else context - num
        if room < (1 if max_tokens else 0):
            what = f"the {param} {'has' if param == 'prompt' else 'have'} {num} tokens, and the model reads and writes"
            raise Refusal(f"{what} at most {context}", param)
        temperature = 1.0 if self.temperature is None else self.temperature
        return Question(
            prompt_ids,
            self.num_samples,
            min(max_tokens, room),
            temperature if temperature >= _COLDEST else 0.0,  # logits divided by less would be no numbers any more
            secrets.randbits(62) if self.seed is None else self.seed,
            tuple(self.stop),
            1.0 if self.top_p is None else self.top_p,
            num_top,
            read_prompt,
        )
