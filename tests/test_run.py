"""Runs: cached, resumed, killed. The steps are made up: they count, and write what they counted."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from accord.counts import counts_of
from accord.errors import UserError
from accord.steps.base import Job, StepKind
from accord.store.artifacts import Artifact, Store
from tests.fixtures.counting import TEXT, CountConfig, World, contents, killed_at, run, store, world

__all__ = ["store", "world"]


def test_a_second_run_is_all_cached(world: World, store: Store):
    run_dir, records, said = run(world, store)
    assert world.ran == ["model", "first", "second"]
    assert not any(record.cached for record in records)
    assert said[0].split()[:4] == ["model", "model", "to", "run"]
    again, records, said = run(world, store)
    assert (again, world.ran) == (run_dir, ["model", "first", "second"])
    assert all(record.cached for record in records)
    assert said[2].split()[:3] == ["second", "count", "cached"]
    assert "second: cached" in said
    assert not list((store.root / "work").iterdir())


def test_the_run_folder(world: World, store: Store):
    run_dir, records, _ = run(world, store, "second.iterations=5")
    assert run_dir == store.root / "runs" / "r"
    link = run_dir / "steps" / "second"
    assert not os.path.isabs(os.readlink(link))
    assert link.resolve() == records[2].artifact.path.resolve()
    assert (run_dir / "recipe.yaml").read_text() == '# --set "second.iterations=5"\n' + TEXT
    plan = json.loads((run_dir / "plan.json").read_text())
    assert plan["overrides"] == ["second.iterations=5"]
    row = plan["steps"][2]
    assert (row["name"], row["kind"], row["key"], row["cached"]) == ("second", "count", records[2].key, False)
    assert row["config"] == {"iterations": 5, "start": "latest"}
    assert (store.root / row["artifact"] / "value.json").is_file()
    assert records[2].artifact.manifest["parents"]["start"][0]["key"] == records[1].key


def test_one_number_changed_runs_what_depends_on_it(world: World, store: Store):
    run(world, store)
    world.ran.clear()
    run(world, store, "second.iterations=5")
    assert world.ran == ["second"]
    world.ran.clear()
    run(world, store, "first.iterations=5")
    assert world.ran == ["first", "second"]


def test_until(world: World, store: Store):
    run_dir, records, _ = run(world, store, until="first")
    assert [record.name for record in records] == ["model", "first"]
    rows = json.loads((run_dir / "plan.json").read_text())["steps"]
    assert [row["artifact"] is None for row in rows] == [False, False, True]
    with pytest.raises(UserError, match="no step 'frist'") as caught:
        run(world, store, until="frist")
    assert caught.value.remedy == "Did you mean 'first'?"


def test_stale_links_go(world: World, store: Store):
    run_dir, _, _ = run(world, store)
    (run_dir / "steps" / "former").symlink_to("nowhere")
    run(world, store)
    assert sorted(path.name for path in (run_dir / "steps").iterdir()) == ["first", "model", "second"]


@pytest.mark.parametrize("at", [1, 3, 6])
def test_an_error_in_a_step_then_the_same_bytes(world: World, store: Store, tmp_path: Path, at: int):
    expected = contents(run(World(), Store(tmp_path / "whole"))[0])

    def fail(name: str, iteration: int) -> None:
        if (name, iteration) == ("first", at):
            raise RuntimeError("a fault in the step")

    world.hook = fail
    with pytest.raises(RuntimeError, match="a fault"):
        run(world, store)
    iterations = []
    world.hook = lambda name, iteration: iterations.append((name, iteration))
    run_dir, _, said = run(world, store)
    assert iterations[0] == ("first", at)  # what the checkpoint holds is not done again
    assert ("first: going on from its last checkpoint" in said) == (at > 1)
    assert contents(run_dir) == expected


@pytest.mark.parametrize(("name", "at"), [("first", 1), ("first", 4), ("first", 6), ("second", 2)])
def test_a_kill_then_the_same_bytes(world: World, store: Store, tmp_path: Path, name: str, at: int):
    expected = contents(run(World(), Store(tmp_path / "whole"))[0])
    killed_at(world, store, name, at)
    assert contents(run(world, store)[0]) == expected


def test_without_its_state_a_resumed_step_differs(world: World, store: Store, tmp_path: Path):
    """A negative control of the two tests above: a checkpoint that forgets gives other bytes."""
    expected = contents(run(World(), Store(tmp_path / "whole"))[0])
    world.hook = lambda *place: (_ for _ in ()).throw(RuntimeError) if place == ("first", 4) else None
    with pytest.raises(RuntimeError):
        run(world, store)
    (folder,) = (path for path in (store.root / "work").iterdir() if path.is_dir())
    for state in folder.glob("checkpoints/*/state.json"):
        manifest = json.loads((state.parent / "manifest.json").read_text())
        assert manifest["files"]["state.json"]["size"] == state.stat().st_size
    original = world.count

    def forgetful(job: Job) -> None:
        resume = job.work.resume

        def forget() -> object:
            checkpoint = resume()
            if checkpoint is not None:
                checkpoint.state["value"] = 0
            return checkpoint

        job.work.resume = forget  # type: ignore[method-assign,assignment]
        original(job)

    world.registry["count"] = StepKind("policy", 1, CountConfig, forgetful)
    world.hook = lambda name, iteration: None
    assert contents(run(world, store)[0]) != expected


def test_what_a_step_counted_is_said(tmp_path: Path) -> None:
    def counted(content: object) -> list[str]:
        (tmp_path / "summary.json").write_text(json.dumps(content))
        return counts_of(Artifact(tmp_path, {}))

    assert counts_of(Artifact(tmp_path, {})) == []
    assert counted({"num_demonstrations": 174, "num_too_long": 3, "num_unusable": 0, "best_step": 4}) == [
        "174 demonstrations",
        "3 too long",
    ]
    source = {"num_rows": 9, "num_left_out": 2, "flaws": {"empty-response": 2, "unparsable": 1}}
    parts = {"train": {"kind": "comparisons", "num_records": 7}}
    assert counted({"parts": parts, "sources": {"train": source}}) == [
        "train 7 comparisons",
        "2 of the 9 rows of train left out (empty-response 2, unparsable 1)",
    ]
    assert counted({"parts": parts, "sources": {"train": {**source, "flaws": {}}}}) == ["train 7 comparisons"]
    assert counted({"num_iterations": 7, "stopped_at_kl": 12.345}) == [
        "7 iterations",
        "ended at a KL of 12.3 nats, above stop_at_kl",
    ]
    alarm = {"name": "repetition", "what": "distinct-2 fell.", "since": 3}
    assert counted({"num_prompts": 2, "alarms": [alarm]}) == ["2 prompts", "alarm, from 3 on: distinct-2 fell."]


def test_a_run_shows_from_its_start_on(world: World, store: Store) -> None:
    def look(name: str, iteration: int) -> None:
        plans.append(json.loads((store.root / "runs" / "r" / "plan.json").read_text()))
        raise UserError("enough seen")

    plans: list[dict[str, object]] = []
    world.hook = look
    world.registry = {**world.registry, "model": replace(world.registry["model"], run=lambda job: look("model", 0))}
    with pytest.raises(UserError, match="enough seen"):
        run(world, store)
    assert [row["artifact"] for row in plans[0]["steps"]] == [None] * len(plans[0]["steps"])  # type: ignore[attr-defined,index]
