"""What people call a model, looked for without opening it: a name that is none is said before torch is imported."""

from __future__ import annotations

from pathlib import Path

from accord.errors import UserError, did_you_mean
from accord.models import hub
from accord.models.sources import BUILTIN, Place, locate
from accord.paths import user_path
from accord.run_folder import PLAN


def is_function(source: str) -> bool:
    """Whether it is FILE.py:FUNCTION."""
    return source.rpartition(":")[0].endswith(".py")


def is_folder_or_run(source: str, store: Path) -> bool:
    """Whether it names a folder, a run, or a step of a run."""
    runs = store / "runs"
    run = source.rpartition(":")[0]
    folders = (runs / source, runs / run, Path(run)) if run else (runs / source,)
    return user_path(source).is_dir() or (source != "" and any((folder / PLAN).is_file() for folder in folders))


def locate_policy(source: str, store: Path) -> Place:
    """Where a model lies that is no folder of a step and no run. Raises UserError when it is nowhere."""
    try:
        return locate(source)
    except UserError as error:
        remedy = f"A model here is also a run, or RUN:STEP. {did_you_mean(source, [*_runs(store), *BUILTIN])}"
        raise UserError(error.what, where=error.where, remedy=remedy) from error


def no_reward(source: str, store: Path) -> UserError:
    """The error over what names no reward."""
    runs = _runs(store)
    hint = f" {did_you_mean(source, runs)}" if runs else ""
    remedy = f"A reward is a run, RUN:STEP, a folder of a reward model, or FILE.py:FUNCTION.{hint}"
    return UserError(f"there is no reward {source!r}", remedy=remedy)


def check_policy(source: str, store: Path) -> None:
    """Raises UserError for what names nothing, on this machine or the hub. What it names may still be no policy."""
    if not is_folder_or_run(source, store) and locate_policy(source, store).form == "hub":
        hub.commit(source)


def check_reward(source: str, store: Path) -> None:
    """As `check_policy`, for a reward."""
    if not is_function(source) and not is_folder_or_run(source, store):
        raise no_reward(source, store)


def _runs(store: Path) -> list[str]:
    return [path.parent.name for path in (store / "runs").glob(f"*/{PLAN}")]
