"""Runs in the environment of OpenAI's SDK: asks a server what the SDK can, and writes what it saw."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import openai

HELLO: Any = [{"role": "user", "content": "Hello."}]
CHAT: dict[str, Any] = {"model": "tiny", "messages": HELLO, "max_tokens": 12}
TEXT: dict[str, Any] = {"model": "tiny", "prompt": "The acting is", "max_tokens": 8, "temperature": 0, "echo": True}
REFUSED: dict[str, dict[str, Any]] = {
    "no such model": {"model": "large"},
    "too long": {"messages": [{"role": "user", "content": "word " * 3000}]},
    "no text": {"response_format": {"type": "json_object"}},
    "impossible": {"temperature": -1},
}


def main(out: str, url: str, key: str) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
    found: dict[str, Any] = {}
    try:
        found["models"] = [one.id for one in client.models.list()]
    except openai.APIStatusError as error:
        found["refused"] = said(error)
    else:
        found |= all_of(client)
    Path(out).write_text(json.dumps(found), encoding="utf-8")


def all_of(client: openai.OpenAI) -> dict[str, Any]:
    chats, texts = client.chat.completions, client.completions
    usage: Any = {"include_usage": True}
    conversation = {"messages": [*HELLO, {"role": "assistant", "content": "Good."}]}
    return {
        "chat": chats.create(**CHAT, temperature=0, logprobs=True, top_logprobs=2).model_dump(),
        "several": [one.message.content for one in chats.create(**CHAT, n=3, seed=1).choices],
        "chat events": [
            event.model_dump() for event in chats.create(**CHAT, temperature=0, stream=True, stream_options=usage)
        ],
        "text": texts.create(**TEXT, logprobs=2).model_dump(),
        "text events": [event.model_dump() for event in texts.create(**TEXT, stream=True)],
        "score": client.post("/score", cast_to=object, body={"model": "rm", "input": [conversation]}),
        "errors": {name: refused(client, options) for name, options in REFUSED.items()},
    }


def refused(client: openai.OpenAI, options: dict[str, Any]) -> Any:
    try:
        client.chat.completions.create(**{**CHAT, **options})
    except openai.APIStatusError as error:
        return said(error)


def said(error: openai.APIStatusError) -> list[Any]:
    return [type(error).__name__, error.code, error.param, error.message]


if __name__ == "__main__":
    main(*sys.argv[1:])
