"""The README's Python block runs, on the results of a finished run."""

from __future__ import annotations

import os
import re
import runpy
from pathlib import Path

import pytest

from accord.plan import make_plan
from accord.recipe import parse_recipe
from accord.steps.registry import STEPS

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_python_block(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "accord-store").symlink_to(finished.parents[1])
    script = tmp_path / "block.py"
    script.write_text(block)
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        runpy.run_path(str(script))
    finally:
        os.chdir(before)
    assert abs(float(capsys.readouterr().out)) < 20


def test_the_recipe_block_is_a_valid_plan() -> None:
    block, own = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert [step.kind for step in parse_recipe(own, Path("README.md")).steps] == ["sft", "reward", "ppo"]
    plan = make_plan(parse_recipe(block, Path("README.md")), STEPS)
    assert [step.kind for step in plan.steps] == ["model", "data", "sft", "reward", "reject", "ppo"]
