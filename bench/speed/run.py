"""Runs a case: rounds of contestants, each a process of its own, one after the other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from accord import machine
from bench.speed.agreement import differences
from bench.speed.case import Case, Contestant
from bench.speed.environments import ROOT, python_of
from bench.speed.flops import counts, model_sizes
from bench.speed.material import Batch, Material
from bench.speed.models import Folders, prepared
from bench.speed.tables import lines

QUIET = {
    "TRL_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def run_case(name: str, case: Case, rounds: int, names: Sequence[str], work: Path) -> dict[str, Any]:
    """The results, as they go into a file. names: of contestants. work: where models, data and logs lie."""
    contestants = {one: case.contestants[one] for one in names}
    pythons = {one.environment: python_of(one.environment) for one in contestants.values()}
    folders = prepared(case.model, work)
    material = Material(folders.policy)
    done: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    for number in range(rounds):
        batch = case.batch(material, number)
        folder = work / name / str(number)
        files = batch.write(folder)
        results: dict[str, Any] = {}
        for one, contestant in contestants.items():
            if one in failed:
                continue
            asked = settings(case, contestant, batch, files, folders, work)
            print(f"{name}, round {number + 1} of {rounds}: {one}", file=sys.stderr, flush=True)
            log = folder / f"{one}.log"
            results[one] = run(contestant, pythons[contestant.environment], asked, log)
            if "failed" in results[one]:
                failed[one] = results[one]["failed"]
                print(f"{one} failed: {failed[one]}; {log} says more", file=sys.stderr, flush=True)
        of_batch = counts(batch.examples, folders.dimensions) if case.kind == "train" else {}
        done.append({"material": of_batch | {"num_examples": len(batch.rows)}, "results": results})
    return content(name, case, contestants, done, folders, failed)


def settings(
    case: Case, contestant: Contestant, batch: Batch, files: tuple[Path, Path], folders: Folders, work: Path
) -> dict[str, Any]:
    """What a contestant is given."""
    rows, own = (batch.rows, files[0]) if not contestant.pairs or batch.pairs is None else (batch.pairs, files[1])
    asked: dict[str, Any] = {
        **case.settings,
        "model": str(folders.policy),
        "reward_model": str(folders.reward),
        "store": str(folders.store),
        "data": str(own),
        "dtype": contestant.dtype,
        "num_examples": len(rows),
        **contestant.settings,
    }
    if "batch_size" in asked and batch.rows:
        asked["batch_size"] = asked["batch_size"] * len(rows) // len(batch.rows)  # of pairs, where it is given pairs
    if "command" in asked:
        recipe, store = cached_run(folders, work)
        asked["command"] = [word.format(recipe=recipe, store=store) for word in asked["command"]]
    return asked


def run(contestant: Contestant, python: Path, asked: Mapping[str, Any], log: Path) -> dict[str, Any]:
    """What it reports, or how it `failed`. Its errors and all other output are in the log."""
    given = log.with_suffix(".json")
    given.write_text(json.dumps(asked), encoding="utf-8")
    command = [str(python), "-m", f"bench.contestants.{contestant.script}", str(given)]
    variables = {**os.environ, **QUIET, **contestant.variables}
    with log.open("w", encoding="utf-8") as errors:
        done = subprocess.run(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=errors, text=True)
    found = reported(done.stdout)
    if done.returncode or found is None:
        return {"failed": f"exit code {done.returncode}"}
    return found


def reported(output: str) -> dict[str, Any] | None:
    """The last line that is a JSON object with what was timed: others may print, too."""
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            try:
                found = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(found, dict) and "seconds" in found:
                return found
    return None


def cached_run(folders: Folders, work: Path) -> tuple[Path, Path]:
    """A recipe all of whose steps are in a store, and the store: made once."""
    recipe, store = work / "cached.yaml", work / "cached-store"
    if not recipe.is_file():
        data = work / "cached.jsonl"
        row = {"prompt": "Say something.", "completion": "Something."}
        data.write_text(json.dumps(row) + "\n", encoding="utf-8")
        text = f"model: {folders.policy}\nseed: 1\ndata: {{made: {data}}}\nsteps:\n  - sft: {{data: made.train}}\n"
        unfinished = recipe.with_suffix(".unfinished.yaml")
        unfinished.write_text(text, encoding="utf-8")
        accord = Path(sys.executable).parent / "accord"
        unfinished.rename(recipe)
        subprocess.run([str(accord), "run", str(recipe), "--store", str(store)], check=True, stdout=subprocess.DEVNULL)
    return recipe, store


def content(
    name: str,
    case: Case,
    contestants: Mapping[str, Contestant],
    rounds: Sequence[Mapping[str, Any]],
    folders: Folders,
    failed: Mapping[str, str],
) -> dict[str, Any]:
    """All that a results file holds."""
    steps = steps_an_epoch(case)
    dtypes = {one: contestant.dtype for one, contestant in contestants.items()}
    compared = differences([one["results"] for one in rounds], dtypes, case.compared, case.first)
    processor, features = machine.processor()
    return {
        "case": name,
        "about": case.about,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": revision(),
        "machine": {
            "processor": processor,
            "features": features,
            "processors": machine.usable_processors(),
            "memory": machine.memory().limit,
        },
        "model": {"name": case.model, **model_sizes(folders.dimensions)},
        "settings": {**case.settings, "material": case.make, **case.of},
        "contestants": {one: asdict(contestant) for one, contestant in contestants.items()},
        "failed": dict(failed),
        "agrees": all(one.agrees for one in compared),
        "differences": [{**asdict(one), "agrees": one.agrees} for one in compared],
        "summary": [asdict(line) for line in lines(rounds, case.first, steps)],
        "rounds": list(rounds),
    }


def steps_an_epoch(case: Case) -> int:
    if "batch_size" not in case.settings or case.make == "rankings":
        return 1
    return int(case.of["size"]) // int(case.settings["batch_size"])


def revision() -> str:
    """Of the code that ran."""
    words = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return done.stdout.strip()
