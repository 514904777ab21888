"""What policies answer to prompts, written down as it comes: an answered prompt is not answered again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from accord.errors import UserError
from accord.paths import file_stem
from accord.store.atomic import disk_errors
from accord.store.place import store_folder
from accord.store.progress import Progress
from accord.types import Prompt

if TYPE_CHECKING:
    from accord.evaluate.completions import Completion

ANSWERS = "policy-answers"  # in the store: of endpoints
# Prompts, by whose ids responses are known -> some of them with their responses, at a time. Others have none.
Answers = Callable[[Sequence[Prompt]], Iterator[dict[str, str]]]
_AT_ONCE = 32  # prompts that are answered between two writes, by a policy in this process


def answered(
    policies: Sequence[str],
    models: Sequence[str],
    key_env: str | None,
    asked: Sequence[Completion],
    out: Path,
    max_response_tokens: int,
    store: str | Path,
) -> dict[str, list[Completion]]:
    """By policy, `asked` with its greedy responses, kept in the folder `out`; None where an endpoint declined, or where
    the policy's context has no room.

    policies: as `load_policy` takes them, or base URLs of OpenAI-compatible endpoints, whose models there are `models`,
    one after the other. key_env: the environment variable with their key. Raises UserError."""
    left = list(models)
    named = [(source, left.pop(0) if _is_url(source) and left else None) for source in policies]
    if left or any(_is_url(source) and model is None for source, model in named):
        what = "each --policy that is a URL has a --policy-model, its model there"
        raise UserError(what, remedy="As in --policy https://host.example/v1 --policy-model wise-1.")
    if len(set(named)) < len(named):
        raise UserError("one policy is named twice", remedy="Name each once.")
    found = {}
    for source, model in named:
        if model is None:
            name, (own, answers) = source, _of_policy(source, max_response_tokens, store)
        else:
            name = f"{model}@{urlsplit(source).netloc}"
            own, answers = _of_endpoint(source, model, max_response_tokens, key_env, store_folder(store))
        path = out / f"{file_stem(name)}.jsonl"
        kept = _kept(path, own)
        new = list({one.prompt: one.asks for one in asked if one.prompt not in kept}.values())
        with Progress(f"{name}: answering", len(new), "prompts") as progress:
            for some in answers(new):
                _add(path, own, some)
                kept |= some
                progress.advance(len(some))
        found[name] = [replace(one, response=kept.get(one.prompt), outcome=None, grade=None) for one in asked]
    return found


def _is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def _of_policy(source: str, max_response_tokens: int, store: str | Path) -> tuple[dict[str, Any], Answers]:
    """What a policy's responses are known by, and how it answers."""
    from accord.api.models import load_policy
    from accord.models.sources import fingerprint

    policy = load_policy(source, store=store)

    def answers(prompts: Sequence[Prompt]) -> Iterator[dict[str, str]]:
        room = [one for one in prompts if policy.context is None or policy.num_tokens(one) < policy.context]
        if prompts and not room:
            policy.sample(prompts[:1])  # raises what is said of one that is too long
        for at in range(0, len(room), _AT_ONCE):
            some = room[at : at + _AT_ONCE]
            texts = policy.sample(some, max_response_tokens=max_response_tokens, temperature=0.0)
            yield {prompt.id: text for prompt, (text,) in zip(some, texts, strict=True)}

    weights = fingerprint(str(policy.folder))
    return {"policy": source, "weights": weights, "max_response_tokens": max_response_tokens}, answers


def _of_endpoint(
    url: str, model: str, max_response_tokens: int, key_env: str | None, store: Path
) -> tuple[dict[str, Any], Answers]:
    """As `_of_policy`. What it declines to answer is missing, and asked for again by the next command."""
    from accord.collect.askers import Question, endpoint_asker
    from accord.rewards.http_json import check_url
    from accord.types import Message

    try:
        check_url(url)
    except ValueError as error:
        raise UserError(str(error), where="--policy", remedy="As in https://host.example/v1.") from error
    asker = endpoint_asker(url, model, store, key_env=key_env, kept_in=ANSWERS, skip_declined=True)

    def answers(prompts: Sequence[Prompt]) -> Iterator[dict[str, str]]:
        opened = [(Message("assistant", one.prefill),) if one.prefill else () for one in prompts]
        talks = [(*one.messages, *more) for one, more in zip(prompts, opened, strict=True)]
        replies = asker.ask([Question(talk, max_response_tokens) for talk in talks])
        for prompt, reply in zip(prompts, replies, strict=True):
            yield {} if reply is None else {prompt.id: reply.text}

    return {"policy": model, "endpoint": asker.server.place, "max_response_tokens": max_response_tokens}, answers


def _kept(path: Path, own: Mapping[str, Any]) -> dict[str, str]:
    """Responses that were written before, by the same weights under the same limit. Torn lines are left out."""
    if not path.exists():
        return {}
    found = {}
    with disk_errors(path):
        lines = path.read_text(encoding="utf-8").splitlines()
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if not isinstance(row, dict):
            continue
        if any(row.get(key) != value for key, value in own.items()):
            what = "this file holds responses of another policy, of other weights, or of another length"
            raise UserError(what, where=str(path), remedy="Name another --out.")
        found[row["prompt"]] = row["completion"]
    return found


def _add(path: Path, own: Mapping[str, Any], some: Mapping[str, str]) -> None:
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            for prompt, text in some.items():
                row = {**own, "prompt": prompt, "completion": text}
                file.write(json.dumps(row, ensure_ascii=True) + "\n")
