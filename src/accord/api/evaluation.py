"""Reward models and judges measured on a user's files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accord.api.runs import DEFAULT_STORE
from accord.errors import UserError, did_you_mean
from accord.store.place import store_folder

if TYPE_CHECKING:
    from accord.api.models import Reward
    from accord.data.formats.options import ReadOptions
    from accord.evaluate.score_log import ScoreLog

SUITES = ("rewardbench", "rewardbench2")
NUM_PROBED = 200


def evaluate_reward_model(
    model: str | Path | Reward,
    data: str | Path,
    *,
    by: str | None = None,
    suite: str | None = None,
    probes: bool = False,
    num_probed: int = NUM_PROBED,
    seed: int = 0,
    store: str | Path = DEFAULT_STORE,
    **options: Any,
) -> dict[str, Any]:
    """How well a reward orders the preferences of a file, with intervals, beside what knowing nothing reaches.

    model: as in `load_reward`, or what that gave. data: a file, a folder of files, `hub:OWNER/NAME` or
    `builtin:NAME.PART`. by: the column
    by which results are given; by default the first of subset, category and source that differs between rows. suite:
    "rewardbench" or "rewardbench2", to score the file as that suite is scored. probes: also how much the score changes
    when a response is padded, formatted, flattering or replaced by a refusal, on the first num_probed comparisons.
    options: of the data, such as format, columns, limit, split. What a model (and not a function) has scored stays in
    the store, and is not computed again. What comes back is what `accord eval reward-model
    --json` prints: accuracy, low, high, n, ties, baselines, subsets, strengths, lengths, calibration, and more.
    Raises UserError.
    """
    from accord.api.models import Reward, load_reward
    from accord.evaluate.reward_report import evaluate_reward

    if suite is not None and suite not in SUITES:
        raise UserError(f"suite: {suite!r} is not known", remedy=did_you_mean(suite, SUITES))
    if num_probed < 1:
        raise UserError(f"num_probed is {num_probed}, and at least 1 is wanted", remedy="Or leave out the probes.")
    read = _read_options(options)
    opened = model if isinstance(model, Reward) else load_reward(model, store=store)
    found = evaluate_reward(
        opened.engine,
        str(data),
        read,
        by=by,
        suite=suite,  # type: ignore[arg-type]  # it is one of SUITES
        num_probed=num_probed if probes else 0,
        seed=seed,
        log=None if isinstance(model, Reward) else _score_log(str(model), store_folder(store)),
    )
    return {"model": opened.source, **found}


def _score_log(model: str, store: Path) -> ScoreLog | None:
    """What a reward model has scored before; None for what may say something else next time: a function, a server."""
    from accord.api.sources import find_reward
    from accord.evaluate.score_log import ScoreLog
    from accord.models.compute import compute_dtype
    from accord.models.sources import fingerprint
    from accord.rewards.loading import learned_folder
    from accord.store.artifacts import Artifact

    found = find_reward(model, store)
    if isinstance(found, Artifact):
        known_by = found.manifest["digest"] if found.kind == "reward" else None
    else:
        folder = learned_folder(found) if isinstance(found, Path) else None
        known_by = None if folder is None else fingerprint(str(folder.resolve()))
    return None if known_by is None else ScoreLog(store, f"{known_by} {compute_dtype()}")


def null_baselines(data: str | Path, *, by: str | None = None, seed: int = 0, **options: Any) -> dict[str, Any]:
    """What always taking the longest response, the shortest, the first or neither reaches on the preferences of a file,
    with intervals, over all and by a column. Raises UserError."""
    from accord.evaluate.baselines import evaluate_baselines

    return evaluate_baselines(str(data), _read_options(options), by=by, seed=seed)


def win_rates(
    data: str | Path,
    *,
    baseline: str | None = None,
    columns: Mapping[str, str | list[str]] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Win rates of policies against a baseline, at equal length too, and ratings of them all, from a file of judged
    pairs; how often the verdict changes with the order of the responses, and how often the longest response wins.

    data: rows with prompt, policy_a, response_a, policy_b, response_b, winner ("a", "b", "tie", a policy's name, or the
    probability that a wins) and perhaps judge. a stands in the first place; a pair that was judged in both orders has
    two rows, and a win where both agree. baseline: by default policy_b of the first row. columns: ours -> the file's.
    Raises UserError.
    """
    from accord.evaluate.win_rates import evaluate_judged

    named: dict[str, str] = {}
    for ours, theirs in (columns or {}).items():
        if not isinstance(theirs, str):
            raise UserError(f"columns: {ours!r} is one column of the file", remedy=f"Write {ours}=COLUMN.")
        named[ours] = theirs
    return evaluate_judged(str(data), named, baseline=baseline, seed=seed)


def _read_options(options: dict[str, Any]) -> ReadOptions:
    from accord.data.formats.options import ReadOptions

    known = [name for name in ReadOptions.__dataclass_fields__ if name != "kind"]
    for option in options:
        if option not in known:
            raise UserError(f"there is no option {option!r}", remedy=did_you_mean(option, known))
    return ReadOptions(**options)
