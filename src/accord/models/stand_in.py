"""A folder that stands in for a model whose weights are not here: its config, and what counts tokens about as it would.

Nothing can be computed with it. It is for estimates, which want a model's dimensions and the lengths of texts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from accord.errors import UserError
from accord.models import hub
from accord.models.known import KNOWN, known_name
from accord.models.sources import FORMS, locate
from accord.paths import user_path
from accord.text.chat_templates import NAMED

# A word, or what it begins with, up to six letters; a digit; a few signs; a blank. About 3.5 characters of English a
# token, where vocabularies of 32,000 to 130,000 entries have 3.5 to 4.5.
_PIECES = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}]| ?\p{L}{1,6}|\p{N}| ?[^\s\p{L}\p{N}]{1,4}|\s"
_SPECIAL = ("<unk>", "<|im_start|>", "<|im_end|>", "<|endoftext|>")
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "*.model")


@dataclass(frozen=True, slots=True)
class StandIn:
    """source: what a recipe can name in place of the model. said: what is not the model's own, in a sentence. counts:
    whether the tokenizer stands in, too, so that its options mean nothing."""

    source: str
    said: str
    counts: bool


@contextmanager
def standing_in(source: str) -> Iterator[StandIn | None]:
    """A stand-in for a model of which there are no weights: one that is known by name, or a folder with a config.json.
    None when the model itself is there, or might be fetched. Raises UserError for what is no model."""
    folder = user_path(source)
    if not folder.is_dir() and (name := known_name(source)) is not None and not _cached(source):
        with TemporaryDirectory() as temp:
            _write(Path(temp), dict(KNOWN[name].config))
            yield StandIn(
                temp, f"{source} is not here: the dimensions are those published for {name}; {_COUNTED}", True
            )
    elif folder.is_dir() and (folder / "config.json").is_file() and not any(folder.glob("*.safetensors")):
        tokenizer = [path for pattern in _TOKENIZER for path in folder.glob(pattern)]
        with TemporaryDirectory() as temp:
            _write(Path(temp), _config(folder / "config.json"), tokenizer)
            counted = "tokens are its tokenizer's" if tokenizer else _COUNTED
            yield StandIn(
                temp, f"{source} has no weights: the dimensions are those of its config; {counted}", not tokenizer
            )
    else:
        try:
            locate(source)
        except UserError as error:
            remedy = (
                f"{FORMS} For an estimate alone, a folder with a config.json will do, or one of {', '.join(KNOWN)}."
            )
            raise UserError(error.what, where=error.where, remedy=remedy) from error
        yield None


_COUNTED = "tokens are counted without its tokenizer, about 3.5 characters of English each"


def _write(folder: Path, config: dict[str, Any], tokenizer: list[Path] | None = None) -> None:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    header = b"{}      "
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    if not tokenizer:
        _counting_tokenizer().save_pretrained(folder)
    for path in tokenizer or []:
        (folder / path.name).write_bytes(path.read_bytes())


def _counting_tokenizer() -> Any:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({token: at for at, token in enumerate(_SPECIAL)}, unk_token=_SPECIAL[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_PIECES), "isolated")
    unknown, _, end, pad = _SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=unknown,
        eos_token=end,
        pad_token=pad,
        additional_special_tokens=list(_SPECIAL[1:3]),
        chat_template=NAMED["chatml"].text,
    )


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_bytes())
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise UserError("it is not a JSON object", where=str(path), remedy="Copy the model's config.json again.")
    return config


def _cached(source: str) -> bool:
    return hub.is_id(source) and source.partition("@")[0] in {one.name for one in hub.cached_models()}
