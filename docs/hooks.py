"""What the pages are made from besides themselves: the keys of steps, what commands say, and fences marked `run`."""

from __future__ import annotations

import inspect
import re
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from accord.plan import INTERNAL, refs_of
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
    module = (inspect.getdoc(inspect.getmodule(step.run)) or "").partition("\n\n")[0]
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
        before, *found = key.split(" ".join(inspect.cleandoc(owner.__doc__).split()))
        if before.strip() and owner is config:
            rest.append(before.strip())
        for keys, meaning in zip(found[::2], found[1::2], strict=True):
            meanings |= {name: meaning.strip() for name in re.split(r",\s", keys) if name not in meanings}
    return rest, meanings


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
    return str(value)


def _takes(info: FieldInfo, ref: Ref | None) -> str:
    if ref is not None:
        records = [ref.records] if isinstance(ref.records, str) else list(ref.records or ())
        what = {"policy": "a policy", "reward": "a reward", "data": " or ".join(records) or "a part of a data set"}
        several = "a list of: " if "tuple" in str(info.annotation) else ""
        return several + what[ref.wants]
    text = re.sub(r"(\w+\.)+", "", str(info.annotation))
    text = re.sub(r"<class '(\w+)'>", r"\1", text).replace("NoneType", "null").replace("None", "null")
    text = re.sub(r"Union\[(.*)\]", lambda m: m[1].replace(", Literal", " or Literal"), text)
    text = re.sub(r"\bdict\[(.*?), (.*?)\]", r"a map from \1 to \2", text)
    text = re.sub(r"Literal\[(.*?)\]", lambda m: m[1].replace("'", "`").replace(", ", " or "), text)
    for python, plain in (("str", "text"), ("int", "whole number"), ("float", "number"), ("bool", "true or false")):
        text = re.sub(rf"\b{python}\b", plain, text)
    return text.replace("|", "\\|")


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
