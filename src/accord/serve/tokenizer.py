"""A policy's tokenizer over HTTP, as vLLM has it: evaluations count tokens with it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from accord.errors import UserError
from accord.serve.errors import Refusal
from accord.serve.requests import ChatMessage, Lenient, Text, prompt_of
from accord.serve.served import Served


class TokenizeRequest(Lenient):
    """A text, or messages up to where the answer begins. model: the first policy, where it is not said."""

    model: str | None = None
    prompt: Text | None = None
    messages: list[ChatMessage] | None = Field(default=None, min_length=1)
    add_special_tokens: bool = True
    continue_final_message: bool = False
    return_token_strs: bool | None = None


class DetokenizeRequest(Lenient):
    model: str | None = None
    tokens: list[Annotated[int, Field(ge=0)]]


def tokenizer_routes(served: Served) -> APIRouter:
    router = APIRouter()

    @router.get("/tokenizer_info")
    def tokenizer_info(model: str | None = None) -> dict[str, Any]:
        worker = served.worker(model)
        tokenizer = worker.template.tokenizer
        names = ("bos_token", "eos_token", "pad_token", "unk_token", "chat_template")
        known = {name: getattr(tokenizer, name) for name in names}
        return {"tokenizer_class": type(tokenizer).__name__, **known, "model_max_length": worker.context}

    @router.post("/tokenize")
    def tokenize(asked: TokenizeRequest) -> dict[str, Any]:
        worker = served.worker(asked.model)
        if (asked.prompt is None) == (asked.messages is None):
            raise Refusal("a prompt or messages are wanted, and not both", "prompt")
        if asked.prompt is not None:
            ids = worker.plain_ids(asked.prompt, marked=asked.add_special_tokens)
        else:
            try:
                ids = worker.prompt_ids(prompt_of(asked.messages or [], go_on=asked.continue_final_message))
            except UserError as error:
                raise Refusal(error.what, "messages") from error
        found: dict[str, Any] = {"count": len(ids), "max_model_len": worker.context, "tokens": list(ids)}
        if asked.return_token_strs:
            found["token_strs"] = [worker.token_bytes(one).decode(errors="replace") for one in ids]
        return found

    @router.post("/detokenize")
    def detokenize(asked: DetokenizeRequest) -> dict[str, str]:
        worker = served.worker(asked.model)
        if (largest := max(asked.tokens, default=0)) >= worker.num_vocabulary:
            what = f"there is no token {largest}: the model knows those below {worker.num_vocabulary}"
            raise Refusal(what, "tokens")
        return {"prompt": worker.template.plain_text(asked.tokens)}

    return router
