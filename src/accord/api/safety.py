"""How safe policies are, and responses of others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accord.api.runs import DEFAULT_STORE
from accord.errors import UserError, did_you_mean
from accord.store.atomic import disk_errors

if TYPE_CHECKING:
    from accord.collect.askers import Asker
    from accord.evaluate.completions import Completion

BY = ("people", "phrases", "classifier", "judge")
_NUMBER = "one or two are measured at a time, each once"
_NAME = "Name one or two files of responses, or --policy once or twice, with --prompts."
_AT_ONCE = 32  # prompts that are answered between two writes


def evaluate_safety(
    files: Sequence[str],
    *,
    policies: Sequence[str] = (),
    prompts: str | None = None,
    out: Path | None = None,
    by: str = "phrases",
    labelled: Sequence[str] = (),
    limit: int | None = None,
    max_response_tokens: int = 512,
    endpoint: str | None = None,
    model: str | None = None,
    key_env: str | None = None,
    seed: int = 0,
    store: str | Path = DEFAULT_STORE,
) -> dict[str, Any]:
    """Violations on unsafe prompts and false refusals on safe ones, with intervals by prompt.

    files: of responses, one or two; or policies, one or two, that answer `prompts` greedily, whose responses are kept
    in the folder `out`, where an answered prompt is not answered again. by: "people", whose labels stand in the file;
    "phrases"; "classifier", trained on `labelled`; or "judge", the model of an OpenAI-compatible endpoint, with the key
    in the environment variable key_env; its answers stay in the store, and are not paid for again. labelled: responses
    with people's labels, on which the detector's error is measured. Returns {"results": by file or policy, "compared":
    of two}. Raises UserError.
    """
    from accord.evaluate.completions import read_completions
    from accord.evaluate.safety import as_json, compared, detector_of, safety_of

    if by not in BY:
        raise UserError(f"by: {by!r} is not known", remedy=did_you_mean(by, BY))
    given: dict[str, list[Completion]]
    if len(files) > 2 or len(set(files)) < len(files):
        raise UserError(_NUMBER, remedy=_NAME)
    if policies:
        given = _answered(policies, files, prompts, out, limit, max_response_tokens, store)
    else:
        given = {name: read_completions([name])[:limit] for name in files}
    if not 1 <= len(given) <= 2:
        raise UserError(_NUMBER, remedy=_NAME)
    for name, completions in given.items():
        if all(one.response is None for one in completions):
            raise UserError("the file holds no responses", where=name, remedy="Name --policy to have some written.")
        if by == "people" and all(one.outcome is None for one in completions):
            remedy = "Give the file a column final_label (or outcome), or let --by phrases decide."
            raise UserError("people have not said of any response what was done", where=name, remedy=remedy)
    people = read_completions(labelled) if labelled else [one for of in given.values() for one in of]
    asker = _asker(endpoint, model, key_env, Path(store)) if by == "judge" else None
    detector, error = (None, None) if by == "people" else detector_of(by, people, seed, asker)
    results = {name: as_json(safety_of(completions, detector, error, seed)) for name, completions in given.items()}
    found: dict[str, Any] = {"results": results}
    if len(given) == 2:
        first, second = given.values()
        found["compared"] = compared(first, second, detector)
    return found


def _asker(endpoint: str | None, model: str | None, key_env: str | None, store: Path) -> Asker:
    from accord.collect.askers import endpoint_asker
    from accord.rewards.http_json import check_url

    if endpoint is None or model is None:
        remedy = "Give --endpoint, as https://judge.example/v1, and --model, its name there."
        raise UserError("a judge is a model behind an endpoint", remedy=remedy)
    try:
        check_url(endpoint)
    except ValueError as error:
        raise UserError(str(error), where="--endpoint", remedy="As in https://judge.example/v1.") from error
    return endpoint_asker(endpoint, model, store, key_env=key_env)


def _answered(
    policies: Sequence[str],
    files: Sequence[str],
    prompts: str | None,
    out: Path | None,
    limit: int | None,
    max_response_tokens: int,
    store: str | Path,
) -> dict[str, list[Completion]]:
    from accord.api.models import load_policy
    from accord.evaluate.completions import read_completions
    from accord.models.sources import fingerprint
    from accord.store.progress import Progress

    if files or prompts is None or out is None or len(set(policies)) < len(policies):
        remedy = "Give --policy once or twice, --prompts FILE and --out FOLDER, and no files of responses."
        raise UserError("a policy answers prompts, and its responses are kept", remedy=remedy)
    asked = read_completions([prompts])[:limit]
    found = {}
    for name in policies:
        path = out / f"{''.join(c if c.isalnum() or c in '-_.' else '_' for c in name)}.jsonl"
        policy = load_policy(name, store=store)
        own = {"policy": name, "weights": fingerprint(str(policy.folder)), "max_response_tokens": max_response_tokens}
        kept = _kept(path, own)
        left = list(dict.fromkeys(one.prompt for one in asked if one.prompt not in kept))
        with Progress(f"{name}: answering", len(left), "prompts", None) as progress:
            for at in range(0, len(left), _AT_ONCE):
                some = left[at : at + _AT_ONCE]
                answers = policy.sample(some, max_response_tokens=max_response_tokens, temperature=0.0)
                rows = [{"prompt": prompt, "completion": texts[0]} for prompt, texts in zip(some, answers, strict=True)]
                _add(path, own, rows)
                kept |= {row["prompt"]: row["completion"] for row in rows}
                progress.advance(len(some))
        found[name] = [replace(one, response=kept[one.prompt], outcome=None) for one in asked]
    return found


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
        if any(row.get(key) != value for key, value in own.items()):
            what = "this file holds responses of another policy, of other weights, or of another length"
            raise UserError(what, where=str(path), remedy="Name another --out.")
        found[row["prompt"]] = row["completion"]
    return found


def _add(path: Path, own: Mapping[str, Any], rows: Sequence[dict[str, str]]) -> None:
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps({**own, **row}, ensure_ascii=True) + "\n" for row in rows)
