"""`keep_ches` and alarms of the step dpo: what is trained on, what is written, and what a stop does not change."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from accord.engine.sizes import Known, Records, Sizes
from accord.errors import Interrupted, UserError
from accord.models.cost import Dimensions
from accord.models.folders import load_tokenizer
from accord.monitor import alarms as alarms_module
from accord.monitor.alarms import Alarm
from accord.steps.dpo import Config, work
from accord.text.template import Template
from accord.types import Comparison, Judgement, Response
from tests.fixtures.made_up_data import made_up, make_prompts
from tests.fixtures.recipes import run_steps
from tests.fixtures.stopping import stoppable

STEP = """\
  - dpo: {data: mine.pairs, batch_size: 2, learning_rate: 0.01, keep_ches: 0.5}
"""

__all__ = ["made_up"]

pytestmark = pytest.mark.usefixtures("made_up")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def json_of(folder: Path, name: str = "summary.json") -> Any:
    return json.loads((folder / name).read_text())


def scores_of(folder: Path) -> list[float]:
    return [json.loads(line)["length_normalised"] for line in (folder / "ches.jsonl").read_text().splitlines()]


def test_half_of_the_pairs_are_trained_on(tiny_model: Path, tmp_path: Path) -> None:
    folder = run_steps(tmp_path, tiny_model, STEP) / "steps" / "dpo"
    summary, scores = json_of(folder), scores_of(folder)
    assert (summary["num_comparisons"], summary["num_pairs"], summary["num_pairs_of_high_ches"]) == (4, 4, 4)
    assert summary["num_optimizer_steps"] == 2
    assert len(scores) == 8
    assert summary["length_normalised_ches"]["kept_up_to"] == sorted(scores)[3]
    assert summary["alarms"] == []


def test_with_all_kept_it_is_the_run_without(tiny_model: Path, tmp_path: Path) -> None:
    plain = run_steps(tmp_path, tiny_model, STEP, "dpo.keep_ches=null") / "steps" / "dpo"
    assert not (plain / "ches.jsonl").exists()
    weights = (plain / "model" / "model.safetensors").read_bytes()
    kept = run_steps(tmp_path, tiny_model, STEP, "dpo.keep_ches=1") / "steps" / "dpo"
    assert len(scores_of(kept)) == 8
    # Another key, and so another artifact; the seed is the same.
    assert (kept / "model" / "model.safetensors").read_bytes() == weights


def test_stopped_and_gone_on_with_it_is_the_same(tiny_model: Path, tmp_path: Path) -> None:
    finished = run_steps(tmp_path, tiny_model, STEP)
    whole = (finished / "steps" / "dpo").resolve()
    run = stoppable(finished, "dpo", tmp_path, keep=False)
    with pytest.raises(Interrupted):
        run(0)  # while the scores are computed
    with pytest.raises(Interrupted):
        run(1)
    again = run(None)
    for file in ("model/model.safetensors", "summary.json", "metrics.jsonl", "ches.jsonl"):
        assert (again / file).read_bytes() == (whole / file).read_bytes(), file


def test_alarms_are_written(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raised = [Alarm("displacement", "so it is.", 2)]
    monkeypatch.setattr(alarms_module, "alarms", lambda rows: raised if len(rows) == 2 else [])
    said: list[str] = []
    folder = run_steps(tmp_path, tiny_model, STEP, say=said.append)
    summary = json_of(folder / "steps" / "dpo")
    assert summary["alarms"] == [{"name": "displacement", "what": "so it is.", "since": 2}]
    assert any("alarm, from 2 on: so it is." in line for line in said)


@pytest.mark.parametrize("share", [0, 1.5])
def test_a_share_that_is_none(tiny_model: Path, tmp_path: Path, share: float) -> None:
    with pytest.raises(UserError, match="keep_ches"):
        run_steps(tmp_path, tiny_model, STEP, f"dpo.keep_ches={share}")


def test_the_estimate(tiny_model: Path) -> None:
    """8 pairs: their scores without the head, and a quarter of the training."""
    records = [
        (Comparison(p.id, p, (Response(" is warm."), Response(" is dull."))), (Judgement(p.id, "a", (1.0, 0.0)),))
        for p in make_prompts()
    ]
    dimensions = Dimensions(2, 32, 64, 4, 2, 8, 512)
    sizes = Sizes(
        dimensions,
        Template(load_tokenizer(tiny_model)),
        {"data": (Known(records=Records("comparisons", records, 8)),), "start": (Known("s"),)},
    )
    every = work(Config(data="d"), sizes)
    some = work(Config(data="d", keep_ches=0.25), sizes)
    assert some.tokens("train") == pytest.approx(every.tokens("train") / 4)
    before, *_ = some.phases
    assert {one.head_rows for one in before.passes} == {0}
    assert sum(one.tokens * one.count for one in before.passes) == every.tokens("train")
    assert list(before.frozen) == [dimensions.policy_parameters]
    assert len(some.loaded) == len(every.loaded) + 1
