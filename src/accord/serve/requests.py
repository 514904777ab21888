"""What requests have in common, as OpenAI's clients write them. Fields that are not known are ignored, but for those
that would change an answer."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from accord.engine.sampling import COLDEST
from accord.serve.errors import Refusal
from accord.serve.worker import NUM_SLOTS, Question, Worker
from accord.types import Message, Prompt, Role

MOST_TOP = 20  # most probable tokens that a log-probability is accompanied by
_MOST_TOKENS = 1 << 16  # of a response, where the model's config does not say how many it can write


# What changes how an answer is drawn, and is not done here: by field, the values with which it changes nothing.
_NEUTRAL: Final[dict[str, tuple[Any, ...]]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "logit_bias": ({},),
    "top_k": (0, -1),
    "min_p": (0,),
    "min_tokens": (0,),
    "ignore_eos": (False,),
    "tool_choice": ("none", "auto"),
}


class Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


def whole_text(value: str) -> str:
    """Raises ValueError for halves of characters, which no tokenizer reads."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError("a text holds half a character") from error
    return value


Text = Annotated[str, AfterValidator(whole_text)]


def _joined(value: Any) -> Any:
    """The text of a message's content, which may be a list of parts. Raises ValueError for parts that are no text."""
    if not isinstance(value, list):
        return value
    for part in value:
        if not (isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)):
            raise ValueError("the model reads texts alone: a text is wanted, or parts of type text")
    return "".join(part["text"] for part in value)


class ChatMessage(Lenient):
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[Text, BeforeValidator(_joined)]

    @property
    def message(self) -> Message:
        return Message(_role(self.role), self.content)


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

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    model: str
    temperature: float | None = Field(default=None, ge=0, le=100)
    top_p: float | None = Field(default=None, gt=0, le=1)
    n: int | None = Field(default=None, ge=1, le=NUM_SLOTS)
    seed: int | None = None
    stop: Annotated[list[Text], Field(max_length=64)] = []
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @field_validator("stop", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        if value is None:
            return []
        return [value] if isinstance(value, str) else value

    def check(self) -> None:
        """Raises Refusal for what this server does not do, rather than to answer something else."""
        for field, neutral in _NEUTRAL.items():
            value = (self.model_extra or {}).get(field)
            certain = self.temperature == 0 and field in ("top_k", "min_p")  # the most probable token is always in
            if value is not None and value not in neutral and not certain:
                raise Refusal(f"{field} is not supported, and would change the answer: leave it out", field)

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
        if COLDEST <= temperature < worker.engine.coldest:
            what = f"the temperature {temperature} is not supported: 0, or {worker.engine.coldest} and more"
            raise Refusal(what, "temperature")
        return Question(
            prompt_ids,
            self.num_samples,
            min(max_tokens, room),
            temperature if temperature >= COLDEST else 0.0,
            secrets.randbits(62) if self.seed is None else self.seed,
            tuple(self.stop),
            1.0 if self.top_p is None else self.top_p,
            num_top,
            read_prompt,
        )
