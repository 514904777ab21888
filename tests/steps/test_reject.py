"""Rejection sampling as a step, where there is nothing to imitate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from accord.engine import rollout
from accord.errors import UserError
from accord.types import Response
from tests.fixtures.made_up_data import made_up
from tests.fixtures.recipes import run_steps

__all__ = ["made_up"]

STEPS = """
  - reward_function: {name: length, file: f.py, function: length}
  - reject: {prompts: mine.prompts, reward: length, num_prompts: 4, num_samples: 2, max_response_tokens: 4}
"""


def test_responses_that_are_all_empty_are_refused(
    made_up: str, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roll_out = rollout.roll_out

    def silent(*arguments: object, **options: object) -> rollout.Rollout:
        written = roll_out(*arguments, **options)  # type: ignore[arg-type]
        return replace(written, responses=tuple(tuple(Response("") for _ in of_one) for of_one in written.responses))

    monkeypatch.setattr(rollout, "roll_out", silent)
    monkeypatch.chdir(tmp_path)
    Path("f.py").write_text("def length(responses):\n    return [len(text) for text in responses]\n")
    with pytest.raises(UserError, match=r"reject: the best response to each of the 4 prompts is empty.*\n  Look at"):
        run_steps(tmp_path, tiny_model, STEPS)
