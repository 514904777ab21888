"""Policies on benchmarks whose files a user has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accord.api.runs import DEFAULT_STORE
from accord.errors import UserError, did_you_mean
from accord.paths import user_path

if TYPE_CHECKING:
    from accord.evaluate.multiple_choice import Choices, Scores

SUITES = ("truthfulqa",)
_AT_ONCE = 8  # questions between two steps of the progress


def evaluate_benchmark(
    policies: Sequence[str],
    data: str | Path,
    *,
    suite: str = "truthfulqa",
    limit: int | None = None,
    seed: int = 0,
    store: str | Path = DEFAULT_STORE,
) -> dict[str, Any]:
    """Policies on the same questions, with intervals by question; and of each but the first its difference to the first
    (the alignment tax, where the first is what training began with). policies: as `load_policy` takes them. data: the
    suite's file. Returns {"suite", "results": by policy, "differences": by policy}. Raises UserError."""
    from accord.evaluate.multiple_choice import difference, read_truthfulqa, summary

    if suite not in SUITES:
        raise UserError(f"suite: {suite!r} is not known", remedy=did_you_mean(suite, SUITES))
    if not policies or len(set(policies)) < len(policies):
        raise UserError("name one or several policies, each once")
    path = user_path(data)
    if not path.is_file():
        raise UserError("there is no such file", where=str(data), remedy="Check the path.")
    questions = read_truthfulqa(path)[:limit]
    scores = {name: _scores(name, questions, store) for name in policies}
    first = policies[0]
    return {
        "suite": suite,
        "results": {name: summary(questions, found, seed) for name, found in scores.items()},
        "differences": {name: difference(scores[first], scores[name], seed) for name in policies[1:]},
    }


def _scores(name: str, questions: Sequence[Choices], store: str | Path) -> Scores:
    from accord.api.models import load_policy
    from accord.evaluate.multiple_choice import scores_of
    from accord.store.progress import Progress

    policy, logprobs = load_policy(name, store=store), []
    with Progress(f"{name}: answering", len(questions), "questions") as progress:
        for at in range(0, len(questions), _AT_ONCE):
            some = questions[at : at + _AT_ONCE]
            logprobs += policy.logprobs([one.question for one in some], [one.answers for one in some])
            progress.advance(len(some))
    return scores_of(questions, logprobs)
