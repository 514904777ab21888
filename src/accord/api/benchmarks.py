"""Policies on benchmarks, side by side: suites whose files a user has, and tasks of lm-evaluation-harness."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accord.api.runs import DEFAULT_STORE
from accord.errors import UserError, did_you_mean
from accord.paths import file_stem, user_path
from accord.store import atomic
from accord.store.place import store_folder

if TYPE_CHECKING:
    from accord.api.models import Policy
    from accord.collect.askers import Asker
    from accord.evaluate.benchmarks import Measured

SUITES = ("truthfulqa", "ifeval", "mt-bench")
_AT_ONCE = 8  # questions between two steps of the progress
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class JudgeOptions:
    """Who gives points: endpoint and model, an OpenAI-compatible API and the model's name there, with the key in the
    environment variable key_env; or policy, of one's own. prompt: of `accord.collect.judge_prompts`, or a .yaml file.
    """

    endpoint: str | None = None
    model: str | None = None
    key_env: str | None = None
    policy: str | None = None
    prompt: str = "points-1"


@dataclass(frozen=True, slots=True)
class _Scored:
    """answers: what was asked and answered, for `out`. about: what else is to be known of it."""

    measured: list[Measured]
    answers: list[Row]
    about: Row = field(default_factory=dict)


_Score = Callable[["Policy", str], _Scored]


def evaluate_benchmark(
    policies: Sequence[str],
    data: str | Path | None = None,
    *,
    suite: str = SUITES[0],
    tasks: Sequence[str] = (),
    include_path: str | Path | None = None,
    num_fewshot: int | None = None,
    chat: bool = False,
    judge: JudgeOptions | None = None,
    max_response_tokens: int | None = None,
    limit: int | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    store: str | Path = DEFAULT_STORE,
) -> dict[str, Any]:
    """Policies on the same items, with intervals by item; and of each but the first its difference to the first (the
    alignment tax, where the first is what training began with).

    policies: as `load_policy` takes them. Either data, the file of a suite: "truthfulqa", "ifeval" (extra `bench`), or
    "mt-bench", for which a judge is named. Or tasks: of lm-evaluation-harness (extra `bench`), also those in the folder
    include_path, whose code is run; num_fewshot: examples in front, in place of the tasks' own number; chat: with the
    chat template. max_response_tokens: of a suite's answers, else as many as its authors allow. limit: the first so
    many items. out: a folder in which what was answered is written down, a file for each policy.
    Returns {"benchmark", "policies", "rows": as `benchmark_rows` has them, "about"}. Raises UserError.
    """
    from accord.api.models import load_policy
    from accord.evaluate.benchmarks import benchmark_rows

    if not policies or len(set(policies)) < len(policies):
        raise UserError("name one or several policies, each once")
    if (data is None) == (not tasks):
        raise UserError("what is measured is either a suite's file or tasks", remedy="Give --data FILE, or --tasks.")
    if tasks:
        named = ", ".join(tasks)
        score = _harness(tasks, include_path, num_fewshot, chat, limit, seed)
    else:
        named = suite
        score = _suite(str(data), suite, judge, max_response_tokens, limit, seed, store_folder(store))
    found: dict[str, list[Measured]] = {}
    about: dict[str, Row] = {}
    for name in policies:
        scored = score(load_policy(name, store=store), name)
        found[name], about[name] = scored.measured, scored.about
        if out is not None:
            _write(user_path(out), name, scored.answers)
    return {
        "benchmark": named,
        "policies": list(policies),
        "rows": benchmark_rows(found, seed=seed),
        "about": about,
    }


def _suite(
    data: str, suite: str, judge: JudgeOptions | None, num: int | None, limit: int | None, seed: int, store: Path
) -> _Score:
    if suite not in SUITES:
        raise UserError(f"suite: {suite!r} is not known", remedy=did_you_mean(suite, SUITES))
    if suite == "ifeval":
        return _ifeval(data, num, limit, seed)
    if suite == "mt-bench":
        return _mt_bench(data, judge, num, limit, seed, store)
    return _truthfulqa(data, limit)


def _truthfulqa(data: str, limit: int | None) -> _Score:
    from accord.evaluate.multiple_choice import measured, read_truthfulqa, scores_of
    from accord.store.progress import Progress

    questions = read_truthfulqa(data)[:limit]

    def score(policy: Policy, name: str) -> _Scored:
        logprobs: list[list[float]] = []
        with Progress(f"{name}: answering", len(questions), "questions") as progress:
            for at in range(0, len(questions), _AT_ONCE):
                some = questions[at : at + _AT_ONCE]
                logprobs += policy.logprobs([one.question for one in some], [one.answers for one in some])
                progress.advance(len(some))
        rows = [
            {"prompt": one.question, "answers": one.answers, "logprobs": own}
            for one, own in zip(questions, logprobs, strict=True)
        ]
        return _Scored(measured(questions, scores_of(questions, logprobs)), rows)

    return score


def _ifeval(data: str, num: int | None, limit: int | None, seed: int) -> _Score:
    from accord.evaluate.harness import check_instructions
    from accord.evaluate.instructions import MAX_TOKENS, measured, read_ifeval
    from accord.evaluate.writing import asked, write
    from accord.store.progress import Progress
    from accord.types import Message, Prompt

    items = read_ifeval(data)[:limit]
    check_instructions(items, [""] * len(items))  # what cannot be checked is found before anything is written

    def score(policy: Policy, name: str) -> _Scored:
        prompts = [Prompt(one.key, (Message("user", one.prompt),)) for one in items]
        questions = [asked(policy.engine, one, num or MAX_TOKENS, seed=seed) for one in prompts]
        with Progress(f"{name}: answering", len(items), "prompts") as progress:
            responses = write(policy.engine, questions, advance=progress.advance)
        followed = check_instructions(items, [one.text for one in responses])
        rows = [
            {
                "key": one.key,
                "prompt": one.prompt,
                "response": response.text,
                "finished": response.finished,
                "instructions": one.instructions,
                "strict": found.strict,
                "loose": found.loose,
            }
            for one, response, found in zip(items, responses, followed, strict=True)
        ]
        about = {
            "unfinished": sum(not one.finished for one in responses),
            "empty": sum(not one.text for one in responses),
        }
        return _Scored(measured(items, followed), rows, about)

    return score


def _mt_bench(
    data: str, judge: JudgeOptions | None, num: int | None, limit: int | None, seed: int, store: Path
) -> _Score:
    from accord.collect.judge_prompts import judge_prompt
    from accord.evaluate.mt_bench import MAX_TOKENS, converse, judged_points, measured, read_mt_bench
    from accord.store.progress import Progress

    dialogues = read_mt_bench(data)[:limit]
    prompt = judge_prompt(judge.prompt if judge else JudgeOptions().prompt)
    if prompt.prompt.mode != "points":
        raise UserError("this prompt compares responses", where=prompt.name, remedy="Name one that gives points.")
    asker = _asker(judge, store)

    def score(policy: Policy, name: str) -> _Scored:
        num_answers = sum(len(one.turns) for one in dialogues)
        with Progress(f"{name}: answering", num_answers, "turns") as progress:
            answers = converse(
                policy.engine, dialogues, max_tokens=num or MAX_TOKENS, seed=seed, advance=progress.advance
            )
        points = judged_points(asker, prompt, dialogues, answers)
        readable: list[list[float | None]] = [[None if one != one else one for one in own] for own in points]
        rows = [
            {"question": one.key, "category": one.category, "turns": one.turns, "answers": said, "points": own}
            for one, said, own in zip(dialogues, answers, readable, strict=True)
        ]
        about = {
            "judge": f"{asker.name}:{prompt.name}",
            "unreadable": sum(own.count(None) for own in readable),
            "empty": sum(said.count("") for said in answers),
        }
        return _Scored(measured(dialogues, points), rows, about)

    return score


def _asker(judge: JudgeOptions | None, store: Path) -> Asker:
    from accord.api.models import load_policy
    from accord.collect.askers import endpoint_asker
    from accord.collect.policy_asker import PolicyAsker
    from accord.rewards.http_json import check_url

    if judge is not None and judge.policy is not None and judge.endpoint is None:
        return PolicyAsker(load_policy(judge.policy, store=store).engine, judge.policy)
    if judge is None or judge.policy is not None or judge.endpoint is None or judge.model is None:
        remedy = "Give --endpoint, as https://judge.example/v1, and --model, its name there; or --judge MODEL."
        raise UserError("this suite needs a judge", remedy=remedy)
    try:
        check_url(judge.endpoint)
    except ValueError as error:
        raise UserError(str(error), where="--endpoint", remedy="As in https://judge.example/v1.") from error
    return endpoint_asker(judge.endpoint, judge.model, store, key_env=judge.key_env)


def _harness(
    names: Sequence[str],
    folder: str | Path | None,
    num_fewshot: int | None,
    chat: bool,
    limit: int | None,
    seed: int,
) -> _Score:
    from accord.evaluate.harness import PolicyLM, Tasks

    path = None if folder is None else user_path(folder)
    if path is not None and not path.is_dir():
        raise UserError("there is no such folder", where=str(folder), remedy="Name the folder of your tasks.")
    tasks = Tasks(names, path)

    def score(policy: Policy, name: str) -> _Scored:
        ran = tasks.run(PolicyLM(policy.engine, name, seed), num_fewshot=num_fewshot, limit=limit, chat=chat, seed=seed)
        return _Scored(ran.measured, ran.answers, {"chat": chat, "tasks": ran.about})

    return score


def _write(folder: Path, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    path = folder / f"{file_stem(name)}.jsonl"
    with atomic.disk_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row, default=str) + "\n" for row in rows), encoding="utf-8")
