"""Hundreds of recipes with one thing wrong: each is a plan, or one error with a place and a remedy."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from accord.cli import shipped_recipe
from accord.errors import UserError
from accord.plan import make_plan
from accord.recipe import parse_recipe
from accord.steps.registry import STEPS

OWN = """
model: {source: MODEL, pad_token: "<|endoftext|>"}
seed: 3
data:
  mine: {source: mine.jsonl, splits: {test: 0.2}, columns: {prompt: question}}
steps:
  - sft: {data: mine, validation: mine.test, lora: {rank: 4}}
  - reward: {name: taste, data: mine, start: sft, margin_thresholds: [0.5, 1, 2, 3]}
  - ppo: {prompts: mine, reward: taste, reference: sft, kl_target: 6}
"""
WRONG = [
    None,
    True,
    -1,
    0,
    1.5,
    1e300,
    "",
    "x",
    "\u202e",
    "a.b.c",
    [],
    [1],
    ["x", "x"],
    {},
    {"x": 1},
    [[]],
    "../..",
    "NaN",
]


@pytest.fixture
def folder(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [{"question": f"Name number {i}.", "chosen": f"It is {i}.", "rejected": f"No {i}."} for i in range(20)]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def attempt(text: str) -> str:
    """The error of a recipe's plan, or nothing."""
    try:
        make_plan(parse_recipe(text, Path("r.yaml")), STEPS)
    except UserError as error:
        return str(error)
    return ""


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in a recipe."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def mutate(recipe: Any, draw: random.Random) -> Any:
    """One thing changed: a value replaced, a key dropped or misspelt, an item repeated."""
    changed = copy.deepcopy(recipe)
    *way, last = draw.choice(list(places(changed)))
    holder = changed
    for key in way:
        holder = holder[key]
    what = draw.choice(["replace", "replace", "drop", "misspell", "repeat"])
    if what == "misspell" and isinstance(holder, dict):
        holder[last[:-1] + draw.choice("aeiou_")] = holder.pop(last)
    elif what == "drop":
        del holder[last]
    elif what == "repeat" and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[last]))
    else:
        holder[last] = draw.choice(WRONG)
    return changed


@pytest.mark.parametrize("name", ["own", "quickstart"])
def test_values(name: str, folder: Path, tiny_model: Path) -> None:
    text = shipped_recipe("quickstart").read_text() if name == "quickstart" else OWN.replace("MODEL", str(tiny_model))
    assert attempt(text.replace("smollm2-135m-instruct", str(tiny_model))) == ""
    recipe = yaml.safe_load(text)
    recipe["model"] = recipe["model"] if name == "own" else str(tiny_model)
    draw = random.Random(0)
    errors = [attempt(yaml.safe_dump(mutate(recipe, draw), sort_keys=False)) for _ in range(150)]
    wrong = [error for error in errors if error]
    assert len(wrong) > 75, "most changes are mistakes"
    assert all(error.startswith(("r.yaml", "mine.jsonl")) for error in wrong), [e for e in wrong if "r.yaml" not in e]
    assert sum("\n  " in error for error in wrong) == len(wrong), [e for e in wrong if "\n  " not in e]


def test_characters(folder: Path, tiny_model: Path) -> None:
    """Characters of the file removed, doubled and replaced."""
    text = OWN.replace("MODEL", str(tiny_model))
    draw = random.Random(1)
    for _ in range(200):
        at = draw.randrange(len(text))
        new = draw.choice(["", text[at] * 2, draw.choice("{}[]:,-#&*!|>'\"%@` \t\n\0\ud800é"), text[at:][:40]])
        attempt(text[:at] + new + text[at + 1 :])
