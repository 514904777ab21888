"""What people call a model: a run, a step of it, a folder, or what a recipe's `model` can name."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

from accord.api.named import is_function, locate_policy, no_reward
from accord.api.runs import DEFAULT_STORE, Run, load_run, open_run
from accord.errors import UserError
from accord.paths import user_path
from accord.printable import printable
from accord.rewards.functions import MARK
from accord.steps.registry import STEPS
from accord.store import atomic
from accord.store.artifacts import MODEL, Artifact, Store
from accord.store.fetch import cache_folder
from accord.store.lock import lock

__all__ = ["DEFAULT_STORE", "find_policy", "find_reward", "is_reward", "ready_folder"]


def find_policy(source: str, store: Path) -> str | Path:
    """A Hugging Face folder, or a source as in a recipe's `model`. Raises UserError when it is none of these."""
    found = _folder_or_run(source, store)
    if isinstance(found, Run):
        return found.step(found.last("policy")).folder / MODEL
    if found is not None:
        return _model_in(found, source)
    locate_policy(source, store)
    return source


def find_reward(source: str, store: Path) -> Artifact | Path | tuple[str, str]:
    """A step's artifact in the store, another folder of a reward, or the file and name of a function.

    Raises UserError when it is none of these.
    """
    if is_function(source):
        file, _, function = source.rpartition(":")
        return file, function
    found = _folder_or_run(source, store)
    if isinstance(found, Run):
        found = found.step(found.last("reward")).folder
    if found is not None and (artifact := Store(store).at(found)) is not None:
        return artifact
    if found is not None and any((found / name).is_file() for name in (MARK, f"{MODEL}/config.json", "config.json")):
        return found
    raise no_reward(source, store)


def is_reward(source: str, store: Path) -> bool:
    """Whether a source, which may be a policy's, names a reward: a step's, a folder of a model with one score, or a
    function. A run counts as its policy."""
    if is_function(source):
        return True
    found = _folder_or_run(source, store)
    if not isinstance(found, Path):
        return False
    if (found / MARK).is_file():
        return True
    try:
        config = json.loads((_model_in(found, source) / "config.json").read_text(encoding="utf-8"))
        kind = config["architectures"][0]
    except (UserError, OSError, ValueError, LookupError, TypeError):
        return False
    return isinstance(kind, str) and kind.endswith("ForSequenceClassification")


def _folder_or_run(source: str, store: Path) -> Path | Run | None:
    """The folder that a source names, of a step or a model, or the run; None when it names none."""
    path = user_path(source)
    if (path / "plan.json").is_file():
        return open_run(path, store)
    if path.is_dir():
        return path
    run, colon, step = source.rpartition(":")
    if colon and any((folder / "plan.json").is_file() for folder in (Path(run), store / "runs" / run)):
        return load_run(run, store=store).step(step).folder
    name = store / "runs" / source
    return open_run(name, store) if source and (name / "plan.json").is_file() else None


def _model_in(folder: Path, source: str) -> Path:
    for path in (folder, folder / MODEL):
        if (path / "config.json").is_file():
            return path
    from accord.models.sources import refuse_adapter

    refuse_adapter(folder, source)
    what = f"{source!r} holds no model (there is no config.json in it)"
    raise UserError(what, where=str(folder), remedy="Name a Hugging Face folder, or a step that makes a policy.")


def ready_folder(source: str | Path) -> Path:
    """A folder of the model whose tokenizer keeps Accord's rules: its own, or one in the cache, prepared once."""
    from accord.models.catalog import adopted_tokenizer, prepare
    from accord.models.folders import load_tokenizer
    from accord.models.sources import fingerprint, locate, pinned

    place = locate(str(source))
    if place.form == "folder":
        own = load_tokenizer(Path(place.path))
        adopted = adopted_tokenizer(place.path)
        rules = adopted.tokenizer
        if not adopted.added and all(
            getattr(own, name) == getattr(rules, name) for name in ("chat_template", "pad_token", "eos_token")
        ):
            return Path(place.path)
    known_by = fingerprint(str(source))
    key = sha256(f"{STEPS['model'].version}:{place.form}:{known_by}".encode()).hexdigest()[:16]
    cache = cache_folder() / "models"
    folder = cache / f"{Path(place.path).stem}-{key}"
    with lock(cache / f"{folder.name}.lock", f"the preparation of {source}", wait=True):
        if not folder.is_dir():
            print(f"preparing {source} into {folder}", file=sys.stderr, flush=True)
            temp = Path(tempfile.mkdtemp(prefix=".prepare-", dir=cache))
            try:
                for note in prepare(pinned(str(source), known_by), temp):
                    print(f"  {printable(note)}", file=sys.stderr, flush=True)
                with atomic.disk_errors(folder):
                    atomic.publish_folder(temp, folder)
            finally:
                shutil.rmtree(temp, ignore_errors=True)
    return folder
