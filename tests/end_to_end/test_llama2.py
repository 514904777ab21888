"""Llama 2's loop as the two shipped recipes, whole, on a tiny model: rounds, labels, mixtures and rewards, and what a
stop in the middle does not change."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from accord.cli import shipped_recipe
from accord.data.records import read_records
from accord.errors import Interrupted
from accord.plan import make_plan
from accord.recipe import load_recipe
from accord.steps.registry import STEPS
from accord.store import atomic
from accord.store.workspace import Workspace
from tests.fixtures.tiny_run import run_tiny

ROUNDS = ("1", "2", "3")


@pytest.fixture(scope="module", autouse=True)
def quickly() -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(patch.object(atomic.files, "fsync", lambda path: None))  # no test crashes the machine
        stack.enter_context(patch("accord.engine.machine.gemm_gflops", lambda dtype: 1.0))  # which takes a second
        yield


@pytest.fixture(scope="module")
def mini(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of llama2-mini."""
    pytest.importorskip("peft")
    return run_tiny(tiny_model, tmp_path_factory.mktemp("mini"), recipe="llama2-mini")


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def parents(run: Path, step: str, field: str) -> list[str]:
    names = {row["key"]: row["name"] for row in read(run / "plan.json")["steps"]}
    return [names[one["key"]] for one in read(run / "steps" / step / "manifest.json")["parents"].get(field, [])]


def digests(store: Path) -> dict[str, str]:
    """Of every artifact's files, by name; times are nowhere among them."""
    found = {}
    for path in sorted(store.glob("artifacts/*/manifest.json")):
        manifest = read(path)
        found |= {f"{manifest['name']}/{name}": entry["sha256"] for name, entry in manifest["files"].items()}
    return found


def numbers(found: Any) -> Iterator[float]:
    if isinstance(found, dict):
        found = list(found.values())
    if isinstance(found, list):
        for one in found:
            yield from numbers(one)
    elif isinstance(found, int | float) and not isinstance(found, bool):
        yield found


def without_those_after(run: Path, store: Path, step: str) -> Path:
    """A copy of a run's store, from which everything that the plan has from this step on is gone. Returns its root."""
    shutil.copytree(run.parents[1], store, symlinks=True)
    rows = read(run / "plan.json")["steps"]
    for row in rows[[row["name"] for row in rows].index(step) :]:
        shutil.rmtree(store / "artifacts" / row["artifact"].rsplit("/", 1)[-1])
    return store


def test_mini_every_step_ran_and_every_number_is_finite(mini: Path) -> None:
    steps = [row["name"] for row in read(mini / "plan.json")["steps"]]
    assert steps == [step.name for step in make_plan(load_recipe(shipped_recipe("llama2-mini")), STEPS).steps]
    found = list(numbers([read(path) for step in steps for path in (mini / "steps" / step).glob("*.json")]))
    assert len(found) > 500
    assert all(math.isfinite(number) for number in found)


def test_mini_all_judgements_are_simulated_and_signed_so(mini: Path) -> None:
    signed = {
        "helpful": "simulated:people:noise=0.1",
        "safety": "simulated:careful:noise=0.1:safety=rule:safety_noise=0.02",
    }
    levels: set[float] = set()
    for number in ROUNDS:
        for what, name in signed.items():
            records = read_records(mini / f"steps/{what}_labels-{number}/train.jsonl", "comparisons")
            said = [judgement for _, judgements in records for judgement in judgements]
            assert {judgement.annotator for judgement in said} == {name}
            assert {len(judgement.safe) for judgement in said} == ({2} if what == "safety" else {0})
            assert {one.prompt.risk_category for one, _ in records} == {"hype" if what == "safety" else ""}
            levels |= {max(grade for grade in judgement.grades if grade is not None) for judgement in said}
    assert levels <= {0.0, 1.0, 2.0, 3.0, 4.0}
    assert len(levels) > 2


def test_mini_rounds_take_what_the_paper_has_them_take(mini: Path) -> None:
    assert parents(mini, "helpful_pairs-1", "policies") == ["sft"], "the last and the one before it are one"
    assert parents(mini, "helpful_pairs-3", "policies") == ["reject-2", "reject-1"]
    assert parents(mini, "safety_data-3", "main") == ["safety_labels-1", "safety_labels-2", "safety_labels-3"]
    assert parents(mini, "drift-3", "rewards") == ["helpful-1", "helpful-2", "helpful-3"]
    assert (parents(mini, "reject-3", "start"), parents(mini, "reject-3", "sampler")) == (["sft"], ["reject-2"])
    assert parents(mini, "reject-3", "earlier") == ["reject-1", "reject-2"]
    assert (parents(mini, "ppo-3", "start"), parents(mini, "distill", "start")) == (["reject-3"], ["ppo-3"])
    assert parents(mini, "compare-3", "policies") == ["ppo-3", "reject-2"]
    summary = read(mini / "steps/reject-3/summary.json")
    assert 0 < summary["num_safety_prompts"] < summary["num_prompts"]
    assert "no_safety_prompt" not in {one["name"] for one in read(mini / "steps/ppo-3/summary.json")["alarms"]}


def test_mini_what_is_held_out_in_one_round_is_trained_on_in_none(mini: Path) -> None:
    held, trained = set(), set()
    for number in ROUNDS:
        for mixture in ("helpful_data", "safety_data"):
            for part, into in (("validation", held), ("train", trained)):
                records = read_records(mini / f"steps/{mixture}-{number}/{part}.jsonl", "comparisons")
                into |= {(one.prompt.messages, one.prompt.prefill) for one, _ in records}
    assert held
    assert not held & trained


def test_mini_the_report_has_every_picture(mini: Path) -> None:
    page = (mini / "report.html").read_text(encoding="utf-8")
    for told in ("Attacks: redteam", "accuracy-3", "drift-3", "reject-3", "ppo-3", "distill", "compare-2"):
        assert told in page, told
    trained = [row["name"] for row in read(mini / "plan.json")["steps"] if row["kind"] in ("sft", "reward", "ppo")]
    assert page.count("<svg") >= len(trained)
    assert "src=" not in page


STOPS = ("collect", "reward", "reject", "ppo", "distill", "redteam")


def test_mini_stopped_in_its_last_round_and_run_again_it_is_the_same(
    mini: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """Once in the middle of a step of each kind."""
    store, left = without_those_after(mini, tmp_path / "store", "safety_labels-3"), list(STOPS)
    assert len(digests(store)) < len(digests(mini.parents[1]))
    real = Workspace.checkpoint_or_stop

    def stop(self: Workspace, iteration: int, make: Any) -> None:
        kind = self.folder.name.split("-")[0]
        if kind in left and iteration > 0:
            left.remove(kind)
            self._stop = lambda: True
        real(self, iteration, make)

    times = 0
    with patch.object(Workspace, "checkpoint_or_stop", stop):
        while True:
            try:
                run_tiny(tiny_model, store, recipe="llama2-mini")
                break
            except Interrupted:
                times += 1
    assert (times, left) == (len(STOPS), [])
    assert digests(store) == digests(mini.parents[1])
