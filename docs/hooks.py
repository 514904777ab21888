"""What the pages are made from besides themselves: the keys of steps, what commands say, and fences marked `run`."""

from __future__ import annotations

import inspect
import re
import types
import typing
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from accord.plan import INTERNAL
from accord.references import refs_of
from accord.steps.base import Ref, StepConfig
from accord.steps.registry import STEPS

_RUN = re.compile(r"^(```\w+) run(?: fails)?", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fills in the generated parts, and takes the word `run` from fences: it is for the tests alone."""
    for mark, text in (("<!-- steps -->", step_reference), ("<!-- commands -->", command_reference)):
        if mark in markdown:
            markdown = markdown.replace(mark, text())
    return _RUN.sub(r"\1", markdown)


def step_reference() -> str:
    """Markdown: for each step kind what it does, what its keys mean, and a table of the keys."""
    kinds = [_FRAME[kind] for kind in INTERNAL] + [(kind, f"`{kind}`") for kind in STEPS if kind not in INTERNAL]
    return "\n\n".join(_step(kind, title) for kind, title in kinds)


_FRAME = {"model": ("model", "The keys below `model`"), "data": ("data", "The keys of a data set")}


def _step(kind: str, title: str) -> str:
    step = STEPS[kind]
    module = _one_line((inspect.getdoc(inspect.getmodule(step.run)) or "").partition("\n\n")[0])
    rest, meanings = _meanings(step.config)
    refs = refs_of(step.config)
    own = step.config.__annotations__  # what is the step's own stands before what it shares with others
    names = sorted(step.config.model_fields, key=lambda name: name not in own)
    fields = {name: step.config.model_fields[name] for name in names if name != "fingerprint"}
    rows = [_row(name, info, refs.get(name), meanings.get(name, "")) for name, info in fields.items()]
    table = ["| key | what it takes | default | |", "|---|---|---|---|", *rows]
    return "\n\n".join([f"### {title}", module, *rest, "\n".join(table)])


def _meanings(config: type[StepConfig]) -> tuple[list[str], dict[str, str]]:
    """The docstrings of the config and its bases: what stands before the first `key: meaning`, and the meanings."""
    names = "|".join(config.model_fields)
    key = re.compile(rf"(?:(?<=\s)|^)((?:{names})(?:,\s(?:{names}))*):\s")
    rest, meanings = [], {}
    for owner in config.__mro__:
        if not owner.__module__.startswith("accord.") or owner is StepConfig or not owner.__doc__:
            continue
        before, *found = key.split(_one_line(owner.__doc__))
        if before.strip() and owner is config:
            rest.append(before.strip())
        for keys, meaning in zip(found[::2], found[1::2], strict=True):
            meanings |= {name: meaning.strip() for name in re.split(r",\s", keys) if name not in meanings}
    return rest, meanings


def _one_line(text: str) -> str:
    """Without line breaks; a word that was broken at its hyphen is whole again."""
    return " ".join(re.sub(r"(?<=\w-)\n\s*(?=\w)(?!(?:and|or)\b)", "", text).split())


def _row(name: str, info: FieldInfo, ref: Ref | None, meaning: str) -> str:
    default = "required" if info.is_required() else f"`{_plain(_default(info))}`"
    return f"| `{name}` | {_takes(info, ref)} | {default} | {meaning.replace('|', chr(92) + '|')} |"


def _default(info: FieldInfo) -> Any:
    made = info.get_default(call_default_factory=True, validated_data={})
    return None if made is PydanticUndefined else made


def _plain(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_plain, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value) or '""'


def _takes(info: FieldInfo, ref: Ref | None) -> str:
    """What a user may write, in words."""
    if ref is None:
        return _choice(_forms(info.annotation))
    one, several = {"policy": (["a policy"], "policies"), "reward": (["a reward"], "rewards")}.get(
        ref.wants, ([_RECORDS.get(kind, kind) for kind in ref.kinds], " or ".join(ref.kinds))
    )
    shapes = {typing.get_origin(_bare(part)) or _bare(part) for part in _parts(info.annotation)}
    forms = list(one) if str in shapes else []
    if shapes & {tuple, list}:
        forms.append("a list of such parts" if forms else f"a list of {several}")
    return _choice(forms + (["null"] if types.NoneType in shapes else []))


def _forms(annotation: Any) -> list[str]:
    """The forms that a value may have: values as they are written, and types in words."""
    found = [form for part in _parts(annotation) for form in _form(_bare(part))]
    return sorted(dict.fromkeys(found), key=lambda form: (form == "null", not form.startswith("`")))


def _form(part: Any) -> list[str]:
    origin, inner = typing.get_origin(part), typing.get_args(part)
    if origin is Literal:
        return [f"`{value}`" for value in inner]
    if origin is dict:
        return [f"a map from {_choice(_forms(inner[0]))} to {' or to '.join(_forms(inner[1]))}"]
    if origin in (tuple, list):
        number = "" if origin is list or inner[-1] is ... else f"{len(inner)} "
        return [f"a list of {number}{' or '.join(_PLURALS.get(form, form) for form in _forms(inner[0]))}"]
    if isinstance(part, type) and issubclass(part, BaseModel):
        return [f"a map ({', '.join(f'`{name}`' for name in part.model_fields)})"]
    return _WORDS[part]


_RECORDS = {"labelled": "labelled responses"}
_WORDS: dict[Any, list[str]] = {
    str: ["text"],
    int: ["whole number"],
    float: ["number"],
    bool: ["true", "false"],
    types.NoneType: ["null"],
}
_PLURALS = {"text": "texts", "whole number": "whole numbers", "number": "numbers"}


def _parts(annotation: Any) -> tuple[Any, ...]:
    """The members of a union; the annotation itself if it is none."""
    bare = _bare(annotation)
    return typing.get_args(bare) if typing.get_origin(bare) in (typing.Union, types.UnionType) else (bare,)


def _bare(annotation: Any) -> Any:
    """Without what `Annotated` adds, and with the value of an alias."""
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    return annotation


def _choice(forms: list[str]) -> str:
    """As in "a", "a or b", "a, b, or c"."""
    return " or ".join(forms) if len(forms) < 3 else ", ".join(forms[:-1]) + f", or {forms[-1]}"


def command_reference() -> str:
    """Markdown: what `--help` says, for every command."""
    import typer
    from typer.testing import CliRunner

    from accord.cli import app

    def names(command: Any, path: tuple[str, ...]) -> list[tuple[str, ...]]:
        inner = getattr(command, "commands", {})
        return [found for name in inner for found in names(inner[name], (*path, name))] if inner else [path]

    pages = []
    for path in names(typer.main.get_command(app), ()):
        result = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"})
        lines = [line.rstrip().replace("Usage: root", "Usage: accord") for line in result.output.strip().splitlines()]
        pages.append(f"### `accord {' '.join(path)}`\n\n```text\n" + "\n".join(lines) + "\n```")
    return "\n\n".join(pages)
