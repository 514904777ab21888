"""Models that judge, and how far they agree with people."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accord.api.runs import DEFAULT_STORE
from accord.errors import UserError, did_you_mean
from accord.store.place import store_folder

if TYPE_CHECKING:
    from accord.collect.answer_log import Reply
    from accord.collect.askers import Asker, Question
    from accord.data.formats.options import ReadOptions
    from accord.evaluate.completions import Completion

QUESTIONS = ("refusal", "refusal-style", "harmbench", "strongreject", "preference")
_BY_GRADE: Mapping[float | None, str] = {0.0: "compliance", 1.0: "refusal"}
_FILES = "Name files with people's labels: see the page on measuring."


def judge_asker(
    endpoint: str | None = None,
    model: str | None = None,
    key_env: str | None = None,
    *,
    policy: str | None = None,
    store: str | Path = DEFAULT_STORE,
) -> Asker:
    """Who answers a judge's questions: the model of an OpenAI-compatible endpoint, or a policy of one's own, as
    `load_policy` takes it. The answers stay in the store, and nobody is asked twice. Progress goes to stderr. Raises
    UserError."""
    from accord.collect.answer_log import AnswerLog
    from accord.collect.askers import ANSWERS, RememberingAsker, endpoint_asker
    from accord.rewards.http_json import check_url

    if (policy is None) == (endpoint is None and model is None) or (endpoint is None) != (model is None):
        remedy = "Give --endpoint, as https://judge.example/v1, and --model, its name there; or --judge, a policy."
        raise UserError("a judge is a model behind an endpoint, or a policy of your own", remedy=remedy)
    if endpoint is not None and model is not None:
        try:
            check_url(endpoint)
        except ValueError as error:
            raise UserError(str(error), where="--endpoint", remedy="As in https://judge.example/v1.") from error
        return _Shown(endpoint_asker(endpoint, model, store_folder(store), key_env=key_env, skip_declined=True))
    from accord.api.models import load_policy
    from accord.collect.policy_asker import PolicyAsker
    from accord.models.compute import compute_dtype
    from accord.models.sources import fingerprint

    assert policy is not None
    opened = load_policy(policy, store=store)
    known_by = hashlib.sha256(f"{fingerprint(str(opened.folder))} {compute_dtype()}".encode()).hexdigest()
    log = AnswerLog(store_folder(store) / ANSWERS / f"{known_by[:16]}.jsonl")
    return _Shown(RememberingAsker(PolicyAsker(opened.engine, policy), known_by, log))


class _Shown:
    """Another asker, with a line of progress."""

    def __init__(self, asker: Asker) -> None:
        self._asker, self.name = asker, asker.name

    def ask(self, questions: Sequence[Question]) -> Iterator[Reply | None]:
        from accord.store.progress import Progress

        with Progress(f"{self.name}: judging", len(questions), "questions") as progress:
            for reply in self._asker.ask(questions):
                progress.advance()
                yield reply


def evaluate_judge(
    files: Sequence[str],
    question: str,
    *,
    asker: Asker | None = None,
    prompt: str | None = None,
    labelled: Sequence[str] = (),
    limit: int | None = None,
    options: ReadOptions | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """How far judges agree with people who labelled the same responses, with intervals by prompt.

    question: "refusal", of responses with people's outcomes (or PyRIT's human_scores, where 1 is a refusal), beside the
    usual phrases and the classifier, which has not seen the prompts (it is missing where there are too few to learn
    from), or learns from `labelled`; "refusal-style", how they refuse, of responses with columns such as
    style_declines, beside the usual phrases; "harmbench" (is it harmful, yes or no) or "strongreject" (how much, from 0
    to 1), of responses with people's grades, `harmful` or human_scores; or "preference", of comparisons, in any form
    that is read as such with `options`. asker: the judge, of `judge_asker`; of refusals there may be none. prompt: what
    it is asked, else ours. limit: only the first rows. Returns {"question", "files", "seed", "results": by judge}.
    Raises UserError.
    """
    if question not in QUESTIONS:
        raise UserError(f"question: {question!r} is not known", remedy=did_you_mean(question, QUESTIONS))
    if not files:
        raise UserError("no file is named", remedy=_FILES)
    if question == "refusal":
        results = _refusals(files, asker, prompt, labelled, limit, seed)
    elif question == "refusal-style":
        results = _refusal_style(files, asker, prompt, limit, seed)
    elif asker is None:
        remedy = "Give --endpoint and --model, or --judge."
        raise UserError(f"of {question} a model judges, and none is named", remedy=remedy)
    elif question == "preference":
        results = _preference(files, asker, prompt, limit, options, seed)
    else:
        results = _harm(files, question, asker, prompt, limit, seed)
    return {"question": question, "files": list(files), "seed": seed, "results": results}


def _refusals(
    files: Sequence[str], asker: Asker | None, prompt: str | None, labelled: Sequence[str], limit: int | None, seed: int
) -> dict[str, Any]:
    from accord.evaluate.refusal_judge import PROMPT, JudgeDetector
    from accord.evaluate.refusals import (
        Detector,
        PhraseDetector,
        TrainedDetector,
        error_of,
        held_out_outcomes,
    )

    prompts, responses, labels = _outcomes(files, limit)
    fixed: list[Detector] = [PhraseDetector()]
    if labelled:
        _, learned, taught = _outcomes(labelled, None)
        fixed.append(TrainedDetector().fit(learned, taught))
    if asker is not None:
        fixed.append(JudgeDetector(asker, prompt or PROMPT))
    found = {one.name: one.outcomes(prompts, responses) for one in fixed}
    if not labelled:
        with suppress(UserError):  # there may be too few labels to learn from
            found[TrainedDetector.name] = held_out_outcomes(prompts, responses, labels)
    return {name: asdict(error_of(own, labels, prompts, seed=seed)) for name, own in found.items()}


def _refusal_style(
    files: Sequence[str], asker: Asker | None, prompt: str | None, limit: int | None, seed: int
) -> dict[str, Any]:
    """By who says and what: of each element that people have labelled."""
    from accord.evaluate.human_labels import class_error
    from accord.evaluate.refusal_style import ELEMENTS, PROMPT, JudgeStylist, PhraseStylist, Stylist

    rows = [one for one in _labelled(files, limit) if one.response is not None and one.style]
    if not rows:
        remedy = f"Give the files columns with true or false: {', '.join(f'style_{one}' for one in ELEMENTS)}."
        raise UserError("people have not said of any response how it refuses", where=files[0], remedy=remedy)
    stylists: list[Stylist] = [PhraseStylist(), *([] if asker is None else [JudgeStylist(asker, prompt or PROMPT)])]
    found = {}
    for stylist in stylists:
        styles = stylist.styles([one.prompt for one in rows], [one.response or "" for one in rows])
        for element in ELEMENTS:
            own = [(one, style) for one, style in zip(rows, styles, strict=True) if element in one.style]
            if own:
                said = [None if style is None else int(style[element]) for _, style in own]
                people, prompts = [int(one.style[element]) for one, _ in own], [one.prompt for one, _ in own]
                error = class_error(said, people, prompts, num_classes=2, seed=seed)
                found[f"{stylist.name}, {element}"] = asdict(error)
    return found


def _outcomes(files: Sequence[str], limit: int | None) -> tuple[list[str], list[str], list[Any]]:
    """Prompts, responses and people's outcomes, of the rows that have all of them."""
    rows = [
        (one.prompt, one.response, outcome)
        for one in _labelled(files, limit)
        if one.response is not None and (outcome := one.outcome or _BY_GRADE.get(one.grade)) is not None
    ]
    if not rows:
        remedy = "Give the files a column final_label or outcome, or PyRIT's human_scores."
        raise UserError("people have not said of any response whether it refuses", where=files[0], remedy=remedy)
    prompts, responses, outcomes = zip(*rows, strict=True)
    return list(prompts), list(responses), list(outcomes)


def _harm(
    files: Sequence[str], question: Any, asker: Asker, prompt: str | None, limit: int | None, seed: int
) -> dict[str, Any]:
    from accord.evaluate.harm import HarmJudge, harm_error

    judge = HarmJudge(asker, question, prompt)
    rows = _labelled(files, limit)
    if all(one.grade is None or one.response is None for one in rows):
        remedy = "Give the files a column `harmful` (true, false, or from 0 to 1), or PyRIT's human_scores."
        raise UserError("people have not said of any response how harmful it is", where=files[0], remedy=remedy)
    error = harm_error(judge, rows, seed)
    if error is None:
        remedy = "See the answers in the store, or take another judge."
        raise UserError("none of the judge's answers could be read", where=judge.name, remedy=remedy)
    return {judge.name: asdict(error)}


def _preference(
    files: Sequence[str],
    asker: Asker,
    prompt: str | None,
    limit: int | None,
    options: ReadOptions | None,
    seed: int,
) -> dict[str, Any]:
    from accord.collect.judge import JudgeAnnotator
    from accord.collect.judge_prompts import PAIRWISE, judge_prompt
    from accord.data.formats.options import ReadOptions
    from accord.evaluate.judge_check import preference_check
    from accord.evaluate.preferences import read_preferences

    named = judge_prompt(prompt or PAIRWISE)
    if named.prompt.asks_for_rubric:
        remedy = "Take pairwise-1 or points-2, or a file of your own with the rubric in it."
        raise UserError(f"the judge prompt {named.name} has a place for a rubric", remedy=remedy)
    judge = JudgeAnnotator(asker, named)
    read = options or ReadOptions()
    said = [one for source in files for one in read_preferences(source, read).judged][:limit]
    return {judge.name: preference_check(judge, said, seed)}


def _labelled(files: Sequence[str], limit: int | None) -> list[Completion]:
    from accord.evaluate.completions import read_completions

    return read_completions(files)[:limit]
