"""What a request for a chat completion says, as OpenAI's clients write it. Fields that are not known are ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from accord.serve.worker import NUM_SLOTS
from accord.types import Message, Prompt, Role


class Refusal(Exception):
    """A request that cannot succeed. param: the field."""

    def __init__(self, what: str, param: str | None = None, status: int = 400) -> None:
        self.what, self.param, self.status = what, param, status
        super().__init__(what)


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class TextPart(_Lenient):
    type: Literal["text"]
    text: str


class ChatMessage(_Lenient):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class StreamOptions(_Lenient):
    include_usage: bool = False


class ChatRequest(_Lenient):
    """continue_final_message: the last message is the assistant's and is gone on with."""

    model: str
    messages: list[ChatMessage] = Field(min_length=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=100)
    top_p: float | None = Field(default=None, gt=0, le=1)
    n: int | None = Field(default=None, ge=1, le=NUM_SLOTS)
    seed: int | None = None
    stop: Annotated[list[str], Field(max_length=16)] = []
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logprobs: bool | None = None
    continue_final_message: bool = False

    @field_validator("stop", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        if value is None:
            return []
        return [value] if isinstance(value, str) else value

    @property
    def limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    def prompt(self) -> Prompt:
        """Raises Refusal for what this server does not do, rather than to answer something else."""
        if self.top_p not in (None, 1.0):
            raise Refusal("top_p below 1 is not supported: set temperature instead", "top_p")
        if self.logprobs:
            raise Refusal("logprobs are not supported", "logprobs")
        messages = [Message(_role(one.role), one.text) for one in self.messages]
        last = messages[-1]
        if last.role != "assistant":
            return Prompt("chat", tuple(messages))
        if not self.continue_final_message:
            what = "the last message is the assistant's: add one of the user's, or set continue_final_message"
            raise Refusal(what, "messages")
        if len(messages) < 2 or messages[-2].role == "assistant":
            raise Refusal("a message of the user's must stand before the one that is gone on with", "messages")
        return Prompt("chat", tuple(messages[:-1]), last.content)


def _role(role: str) -> Role:
    return "system" if role in ("system", "developer") else ("user" if role == "user" else "assistant")
