"""Rejection sampling as a step: in pieces, and where there is nothing to imitate."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from accord.engine import rollout
from accord.errors import Interrupted, UserError
from accord.rewards.ruled import RuleReward
from accord.steps import rejecting
from accord.store.workspace import Workspace
from accord.types import Prompt, Response
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


RULED = """
  - reward_rule: {name: length, rule: length, unit: characters, target: 12}
  - reject: {prompts: mine.prompts, reward: length, num_samples: 4, max_response_tokens: 4, batch_size: 2}
"""
FILES = ("best.jsonl", "selection.json", "summary.json", "metrics.jsonl", "model/model.safetensors")


def stopped(folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch, *stops: int) -> tuple[Path, list[int]]:
    """The step's folder, after stops at the numbers of times that it could be stopped; and how often it drew."""
    asks, drawn, left = 0, list[int](), list(stops)
    roll_out = rollout.roll_out

    def asked(work: Workspace) -> bool:
        nonlocal asks
        asks += work.folder.name.startswith("reject")
        return bool(left) and asks == left[0] and bool(left.pop(0))

    def drawing(policy: Any, prompts: Sequence[Prompt], **options: Any) -> rollout.Rollout:
        drawn.append(len(prompts))
        return roll_out(policy, prompts, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "stop_requested", asked)
        patch.setattr(rollout, "roll_out", drawing)
        for _ in stops:
            with pytest.raises(Interrupted):
                run_steps(folder, model, RULED)
        return run_steps(folder, model, RULED) / "steps/reject", drawn


def test_stopped_anywhere_it_goes_on_to_the_same_files(
    made_up: str, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 8 prompts: 3 pieces are drawn, then 3 are scored, then there are 4 optimizer steps."""
    monkeypatch.setattr(rejecting, "CHUNK", 12)
    whole, drawn = stopped(tmp_path / "whole", tiny_model, monkeypatch)
    assert drawn == [3, 3, 2]
    again, drawn = stopped(tmp_path / "again", tiny_model, monkeypatch, 2, 5, 8)
    assert drawn == [3, 3, 2], "nothing is drawn twice"
    for name in FILES:
        assert (again / name).read_bytes() == (whole / name).read_bytes(), name


def test_pieces_of_any_size_come_to_the_same(
    made_up: str, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_steps(tmp_path / "whole", tiny_model, RULED) / "steps/reject"
    monkeypatch.setattr(rejecting, "CHUNK", 1)
    apart = run_steps(tmp_path / "apart", tiny_model, RULED) / "steps/reject"
    for name in ("best.jsonl", "selection.json", "summary.json"):
        assert (apart / name).read_bytes() == (whole / name).read_bytes(), name


def test_of_all_responses_those_of_a_piece_and_the_chosen_ones_are_in_memory(
    made_up: str, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 samples of each of 8 prompts are 320."""
    monkeypatch.setattr(rejecting, "CHUNK", 80)
    score, write, held = RuleReward.score, rejecting._write, list[int]()

    def count() -> None:
        gc.collect()
        held.append(sum(type(one) is Response for one in gc.get_objects()) - before)

    def scored(*given: Any, **named: Any) -> Any:
        count()
        return score(*given, **named)

    def written(*given: Any, **named: Any) -> Any:
        count()
        return write(*given, **named)

    monkeypatch.setattr(RuleReward, "score", scored)
    monkeypatch.setattr(rejecting, "_write", written)
    before = 0
    count()
    before = held.pop()
    run_steps(tmp_path, tiny_model, RULED.replace("num_samples: 4", "num_samples: 40"))
    assert held == [80] * 4 + [8]
