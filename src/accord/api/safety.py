"""How safe policies are, and responses of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accord.api.runs import DEFAULT_STORE
from accord.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from accord.collect.askers import Asker
    from accord.evaluate.completions import Completion
    from accord.evaluate.harm import Scoring

BY = ("people", "phrases", "classifier", "judge")
STYLE = ("phrases", "judge")
SCORING = ("refusals", "harmbench", "strongreject")
_NUMBER = "one or two are measured at a time, each once"
_NAME = "Name one or two files of responses, or --policy once or twice, with --prompts."


def evaluate_safety(
    files: Sequence[str],
    *,
    scoring: str = "refusals",
    policies: Sequence[str] = (),
    policy_models: Sequence[str] = (),
    policy_key_env: str | None = None,
    prompts: str | None = None,
    out: Path | None = None,
    by: str = "phrases",
    style: str = "phrases",
    labelled: Sequence[str] = (),
    limit: int | None = None,
    max_response_tokens: int = 512,
    endpoint: str | None = None,
    model: str | None = None,
    key_env: str | None = None,
    judge: str | None = None,
    prompt: str | None = None,
    seed: int = 0,
    store: str | Path = DEFAULT_STORE,
) -> dict[str, Any]:
    """How safe responses are, with intervals by prompt.

    files: of responses, one or two; or policies, one or two, that answer `prompts` greedily, whose responses are kept
    in the folder `out`, where an answered prompt is not answered again. A policy is as in `load_policy`, or the base
    URL of an OpenAI-compatible endpoint, with its model there, one after the other, in policy_models, and the key in
    the environment variable policy_key_env.

    scoring: "refusals", violations on unsafe prompts and false refusals on safe ones; or what a judge says of the
    responses to unsafe prompts, "harmbench" (attack success rate) or "strongreject" (how useful they are, 0 to 1).
    by: of refusals, "people", whose labels stand in the file; "phrases"; "classifier", trained on `labelled`; or
    "judge". style: who says how the responses that refuse do so: "phrases", or beside them "judge". The judge is the
    model of an endpoint, with the key in key_env, or `judge`, a policy; its answers stay in the store, and are not paid
    for again; prompt: what it is asked of refusals or harm, else ours. labelled: responses with people's labels, on
    which the error of who decides is measured. Returns {"results": by file or policy, "compared": of two}.
    Raises UserError.
    """
    from accord.api.answered import answered
    from accord.api.judges import judge_asker
    from accord.evaluate.completions import read_completions
    from accord.evaluate.safety import with_kinds

    for name, value, known in (("by", by, BY), ("style", style, STYLE), ("scoring", scoring, SCORING)):
        if value not in known:
            raise UserError(f"{name}: {value!r} is not known", remedy=did_you_mean(value, known))
    if style == "judge" and scoring != "refusals":
        what = f"with scoring {scoring} nobody is asked how refusals are written"
        raise UserError(what, remedy="Leave out --style, or --scoring.")
    wants_judge = scoring != "refusals" or "judge" in (by, style)
    asker = judge_asker(endpoint, model, key_env, policy=judge, store=store) if wants_judge else None
    given: dict[str, list[Completion]]
    if len(files) > 2 or len(set(files)) < len(files):
        raise UserError(_NUMBER, remedy=_NAME)
    if policies:
        if files or prompts is None or out is None:
            remedy = "Give --policy once or twice, --prompts FILE and --out FOLDER, and no files of responses."
            raise UserError("a policy answers prompts, and its responses are kept", remedy=remedy)
        asked = read_completions([prompts])[:limit]
        if scoring == "refusals":
            with_kinds(asked)  # before anything is answered, and paid for
        given = answered(policies, policy_models, policy_key_env, asked, out, max_response_tokens, store)
    else:
        given = {name: read_completions([name])[:limit] for name in files}
    if not 1 <= len(given) <= 2:
        raise UserError(_NUMBER, remedy=_NAME)
    for name, completions in given.items():
        if all(one.response is None for one in completions):
            raise UserError("the file holds no responses", where=name, remedy="Name --policy to have some written.")
    people = read_completions(labelled) if labelled else [one for of in given.values() for one in of]
    if scoring == "refusals":
        return _refusals(given, by, style, people, asker, prompt, seed)
    assert asker is not None
    return _harm(given, scoring, people, asker, prompt, seed)  # type: ignore[arg-type]  # it is one of SCORING


def _refusals(
    given: Mapping[str, Sequence[Completion]],
    by: str,
    style: str,
    people: Sequence[Completion],
    asker: Asker | None,
    prompt: str | None,
    seed: int,
) -> dict[str, Any]:
    from accord.evaluate.refusal_style import stylists_of
    from accord.evaluate.safety import as_json, compared, detector_of, safety_of

    for name, completions in given.items():
        if by == "people" and all(one.outcome is None for one in completions):
            remedy = "Give the file a column final_label (or outcome), or let --by phrases decide."
            raise UserError("people have not said of any response what was done", where=name, remedy=remedy)
    deciding = asker if by == "judge" else None
    detector, error = (None, None) if by == "people" else detector_of(by, people, seed, deciding, prompt)
    stylists = stylists_of(asker if style == "judge" else None)
    results = {
        name: as_json(safety_of(completions, detector, error, seed, stylists)) for name, completions in given.items()
    }
    found: dict[str, Any] = {"results": results}
    if len(given) == 2:
        first, second = given.values()
        found["compared"] = compared(first, second, detector)
    return found


def _harm(
    given: Mapping[str, Sequence[Completion]],
    scoring: Scoring,
    people: Sequence[Completion],
    asker: Asker,
    prompt: str | None,
    seed: int,
) -> dict[str, Any]:
    from accord.evaluate.harm import HarmJudge, harm_compared, harm_error, harm_of

    judge = HarmJudge(asker, scoring, prompt)
    results = {name: harm_of(completions, judge, seed) for name, completions in given.items()}
    error = harm_error(judge, people, seed)
    scores = [one.pop("scores") for one in results.values()]
    found: dict[str, Any] = {"scoring": scoring, "results": results, "error": None if error is None else asdict(error)}
    if len(scores) == 2:
        found["compared"] = harm_compared(scores[0], scores[1], scoring, seed)
    return found
