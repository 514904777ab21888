"""Which fields of an annotation task are the prompt and which are responses, by their usual names.

prompt      prompt, instruction, question, query, messages, conversation, chat, history or dialogue, and a field input
            or context behind it; or these alone. In front of it a field system or system_prompt.
responses   one word with numbers or letters: response1 and response2, answer_a and answer_b, ...; chosen and
            rejected; or one field that is a list: responses, answers, completions, candidates, items, ...
completion  a single one: response, answer, completion, output, reply, generation or summary
text        where there is no prompt: text, review, document, sentence, comment, passage, content, or the only field
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from accord.data.formats.answers import words
from accord.data.formats.fields import Defect
from accord.data.formats.mapping import Columns
from accord.types import Role

PROMPTS = ("prompt", "instruction", "question", "query", "messages", "conversation", "chat", "history", "dialogue")
BEHIND = ("input", "context")
SYSTEMS = ("system", "system prompt")
ANSWERS = ("response", "answer", "completion", "output", "reply", "generation", "summary", "model output")
LISTS = ("responses", "answers", "completions", "outputs", "replies", "generations", "summaries", "candidates", "items")
TEXTS = ("text", "review", "document", "sentence", "comment", "passage", "content")
NUMBERED = re.compile(rf"(?:model )?({'|'.join(ANSWERS)}|candidate|option|text) " + r"(\d{1,4}|[a-z])")

SPEAKERS: dict[str, Role] = {"user": "user", "human": "user", "assistant": "assistant", "ai": "assistant"}
SPEAKERS |= {"bot": "assistant", "model": "assistant", "system": "system"}


def find_roles(fields: Mapping[str, Any], columns: Columns) -> Columns:
    """Our column (prompt, system, responses or completion; or text) -> the fields that it is made of.

    columns: what the user said of them; the usual names fill the rest. Raises Defect where a field that the user named
    is missing, and where neither a prompt nor a text is found.
    """
    for ours, theirs in columns.items():
        for name in _listed(theirs):
            if name not in fields:
                what = f"columns: {ours} is to be {name!r}, and the fields are {', '.join(fields) or 'none'}"
                raise Defect("", what, "missing")
    taken = {name for theirs in columns.values() for name in _listed(theirs)}
    free = {" ".join(words(name)): name for name in fields if name not in taken}
    roles: dict[str, str | list[str]] = dict(columns)
    if "text" in roles:
        return roles
    roles = {**_prompt(free, fields), **roles}
    if not {"responses", "completion"} & set(roles):
        roles |= _responses(free, fields)
    if "prompt" not in roles:
        text = _first(TEXTS, free) or roles.get("completion") or (next(iter(fields)) if len(fields) == 1 else None)
        if "responses" in roles or text is None:
            what = f"no field is the prompt by its name: {', '.join(fields) or 'there are none'}"
            raise Defect("", f"{what}. Name it with columns: {{prompt: FIELD}}", "missing")
        return {"text": text}
    return roles


def plain(value: object) -> object:
    """A field's value as our columns hold it: a text, turns of a conversation, or a list of responses.

    Turns may say author and text instead of role and content. A list of one turn of the assistant is a response. Items
    of a list may be objects with an id and a text, body, html or title.
    """
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
        return value
    turns = [_turn(item) for item in value]
    if all(turns):
        last = turns[-1] or {}
        return last["content"] if len(turns) == 1 and last["role"] == "assistant" else turns
    texts = [next((item[key] for key in ("text", "body", "html", "title") if item.get(key)), None) for item in value]
    return value if None in texts else texts


def response_names(value: object) -> list[str]:
    """What the items of a list of responses are called: their ids, or their numbers from 1."""
    items = value if isinstance(value, list) else []
    return [str(item["id"]) if isinstance(item, dict) and "id" in item else str(i) for i, item in enumerate(items, 1)]


def _prompt(free: Mapping[str, str], fields: Mapping[str, Any]) -> dict[str, str | list[str]]:
    main, behind = _first(PROMPTS, free), [free[name] for name in BEHIND if name in free]
    if main and isinstance(fields[main], list):
        behind = []  # nothing can be put behind turns
    names = [main, *behind] if main else behind
    found: dict[str, str | list[str]] = {"prompt": names if len(names) > 1 else names[0]} if names else {}
    system = _first(SYSTEMS, free)
    return found | ({"system": system} if system else {})


def _responses(free: Mapping[str, str], fields: Mapping[str, Any]) -> dict[str, str | list[str]]:
    groups: dict[str, list[tuple[tuple[int, str], str]]] = {}
    for name, field in free.items():
        if match := NUMBERED.fullmatch(name):
            base, end = match.groups()
            groups.setdefault(base, []).append(((int(end), "") if end.isdecimal() else (0, end), field))
    for group in groups.values():
        if len(group) > 1:
            return {"responses": [field for _, field in sorted(group)]}
    if "chosen" in free and "rejected" in free:
        return {"responses": [free["chosen"], free["rejected"]]}
    listed = _first(LISTS, free)
    if listed and isinstance(fields[listed], list):
        return {"responses": listed}
    single = _first(ANSWERS, free)
    return {"completion": single} if single else {}


def _turn(item: Mapping[str, Any]) -> dict[str, Any] | None:
    if "role" in item and "content" in item:
        return {"role": item["role"], "content": item["content"]}
    speaker = item.get("author", item.get("role"))
    if isinstance(speaker, str) and speaker.lower() in SPEAKERS and "text" in item:
        return {"role": SPEAKERS[speaker.lower()], "content": item["text"]}
    return None


def _first(names: tuple[str, ...], free: Mapping[str, str]) -> str | None:
    return next((free[name] for name in names if name in free), None)


def _listed(theirs: str | list[str]) -> list[str]:
    return [theirs] if isinstance(theirs, str) else theirs
