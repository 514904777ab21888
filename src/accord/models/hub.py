"""Models of the Hugging Face hub: found in its cache first, downloaded otherwise. Never code, never pickles.

A model is known by its commit. What the cache holds is taken as it is, so that a run gives the same tomorrow, and
needs no network: a newer commit is asked for by name, `OWNER/NAME@REVISION`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from accord.errors import UserError, first_line

_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*(@[\w][\w./-]*)?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
TOKENIZER = ("*.json", "*.jinja", "tokenizer.model", "merges.txt", "vocab.txt")
WEIGHTS = ("*.safetensors",)
_NOT = ("*/*", "consolidated*")  # other forms of the same weights


def is_id(source: str) -> bool:
    """Whether it looks like `OWNER/NAME` or `OWNER/NAME@REVISION`."""
    return _ID.fullmatch(source) is not None


def commit(source: str) -> str:
    """The commit that an id stands for, by the cache or else by the hub. Raises UserError."""
    import huggingface_hub

    name, revision = _split(source)
    if _COMMIT.fullmatch(revision):
        return revision
    if cached := _cached_commit(name, revision):
        return cached
    with _errors(name, revision):
        found = huggingface_hub.HfApi().model_info(name, revision=revision).sha
    assert found is not None, "the hub names the commit of what it describes"
    return found


def at_commit(source: str, commit: str) -> str:
    """The id that stands for this commit for ever."""
    return f"{_split(source)[0]}@{commit}"


def snapshot(source: str, *, weights: bool = True) -> Path:
    """The folder of a model's files, downloaded as far as they are not in the cache. Raises UserError.

    weights: False for the tokenizer and the configs alone.
    """
    import huggingface_hub

    name, revision = _split(source)
    wanted = [*TOKENIZER, *(WEIGHTS if weights else ())]
    at = _cached_commit(name, revision) or revision
    with _errors(name, revision):
        path = huggingface_hub.snapshot_download(name, revision=at, allow_patterns=wanted, ignore_patterns=list(_NOT))
    folder = Path(path)
    if not (folder / "config.json").is_file():
        what = "has no config.json, or it is not in the cache"
        raise UserError(f"the model {name!r} {what}", remedy=_elsewhere(name, revision))
    if weights and not any(folder.glob("*.safetensors")):
        raise UserError(
            f"the model {name!r} has no safetensors, or they are not in the cache",
            remedy=f"Accord opens no other weights. {_elsewhere(name, revision)}\n"
            "  If the hub has none, convert a copy that you trust: transformers' save_pretrained writes safetensors.",
        )
    return folder


@dataclass(frozen=True, slots=True)
class Cached:
    """A model in the hub's cache that a recipe can name."""

    name: str
    num_bytes: int
    complete: bool


def cached_models() -> list[Cached]:
    """The models of the cache that have a config, by name. `complete`: with safetensors."""
    import huggingface_hub

    try:
        repos = huggingface_hub.scan_cache_dir(huggingface_hub.constants.HF_HUB_CACHE).repos
    except huggingface_hub.errors.CacheNotFound:
        return []
    found = []
    for repo in repos:
        names = {file.file_name for revision in repo.revisions for file in revision.files}
        if repo.repo_type == "model" and "config.json" in names:
            complete = any(name.endswith(".safetensors") for name in names)
            found.append(Cached(repo.repo_id, repo.size_on_disk, complete))
    return sorted(found, key=lambda one: one.name)


def _split(source: str) -> tuple[str, str]:
    name, _, revision = source.partition("@")
    return name, revision or "main"


def _cached_commit(name: str, revision: str) -> str | None:
    """The commit in the cache under which a revision's config.json lies."""
    import huggingface_hub

    path = huggingface_hub.try_to_load_from_cache(name, "config.json", revision=revision)
    return Path(path).parent.name if isinstance(path, str) else None


@contextmanager
def _errors(name: str, revision: str) -> Iterator[None]:
    """The hub's errors as ours. The order matters: a gated model's error is also a missing one's."""
    import huggingface_hub
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise UserError(
            f"the model {name!r} is given only to those who have asked for it",
            remedy=f"Accept its terms at https://huggingface.co/{name}, then log in with `hf auth login`.",
        ) from error
    except errors.RevisionNotFoundError as error:
        what = f"the model {name!r} has no revision {revision!r} on the hub"
        raise UserError(what, remedy="Name a branch, a tag or a commit after the @.") from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"there is no model {name!r} on the hub, or it is private",
            remedy="Check its name, or log in with `hf auth login`. If it is meant to be a folder, it is not there.",
        ) from error
    except Exception as error:  # those of the network come from the library's own dependencies, which change
        offline = isinstance(error, errors.OfflineModeIsEnabled) or huggingface_hub.constants.HF_HUB_OFFLINE
        why = (
            "the hub is not asked while HF_HUB_OFFLINE is set"
            if offline
            else f"the hub was not reached: {first_line(error)[:200]}"
        )
        raise UserError(
            f"the model {name!r} is not in the hub's cache, and {why}",
            remedy=f"If {name!r} is meant to be a folder, it is not there. {_elsewhere(name, revision)}",
        ) from error


def _elsewhere(name: str, revision: str) -> str:
    at = "" if revision == "main" else f" --revision {revision}"
    return (
        f"Where there is a network: `hf download {name}{at} --local-dir FOLDER`; "
        "then copy FOLDER here and give its path as the model."
    )
