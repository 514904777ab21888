"""Llama 2's loop as the two shipped recipes, whole, on a tiny model: rounds, labels, mixtures and rewards, and what a
stop in the middle does not change."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import random
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from accord.cli import shipped_recipe
from accord.data.records import read_records
from accord.errors import Interrupted, Waiting
from accord.labels import campaigns, queue, users
from accord.labels.answers import GRADES
from accord.labels.database import Database
from accord.labels.migrate import open_labels
from accord.labels.queue import Sent
from accord.plan import make_plan
from accord.recipe import load_recipe
from accord.steps import collect
from accord.steps.registry import STEPS
from accord.store.workspace import Workspace
from tests.fixtures.tiny_run import run_tiny

ROUNDS = ("1", "2", "3")


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
    assert parents(mini, "safety_data-3", "main") == ["safe_lines", *(f"safety_labels-{i}" for i in ROUNDS)]
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


def run_with_stops(kinds: tuple[str, ...], model: Path, store: Path, recipe: str) -> None:
    """Runs a recipe, stopped once in the middle of a step of each of these kinds, and each time begun again."""
    left, times, real = list(kinds), 0, Workspace.checkpoint_or_stop

    def stop(self: Workspace, iteration: int, make: Any) -> None:
        kind = self.folder.name.split("-")[0]
        if kind in left and iteration > 0:
            left.remove(kind)
            self._stop = lambda: True
        real(self, iteration, make)

    with patch.object(Workspace, "checkpoint_or_stop", stop):
        while True:
            try:
                run_tiny(model, store, recipe=recipe, report=False)
                break
            except Interrupted:
                times += 1
    assert (times, left) == (len(kinds), [])


def test_mini_stopped_in_its_last_round_and_run_again_it_is_the_same(
    mini: Path, tiny_model: Path, tmp_path: Path
) -> None:
    store = without_those_after(mini, tmp_path / "store", "safety_labels-3")
    assert len(digests(store)) < len(digests(mini.parents[1]))
    run_with_stops(("collect", "reject", "distill", "redteam"), tiny_model, store, "llama2-mini")
    assert digests(store) == digests(mini.parents[1])


# With people.

RISKS = ("illicit", "hateful", "unqualified advice")
WORDS = [
    "river",
    "copper",
    "violin",
    "garden",
    "winter",
    "engine",
    "harbour",
    "candle",
    "forest",
    "mirror",
    "tunnel",
    "feather",
    "marble",
    "rocket",
    "lamp",
]


def own_files() -> None:
    """Files of the forms that the recipe asks for, made up, in the current folder."""
    generator = random.Random(1)

    def rows(num: int, verb: str, **more: str) -> list[dict[str, Any]]:
        questions = [f"{verb} {' '.join(generator.sample(WORDS, 5))}" for _ in range(num)]
        risk = {"risk_category": lambda i: RISKS[i % 3]} if "risk" in more else {}
        told = {key: value for key, value in more.items() if key != "risk"}
        return [{"prompt": one, **told, **{key: of(i) for key, of in risk.items()}} for i, one in enumerate(questions)]

    files = {
        "ordinary_demos": rows(12, "Describe", completion="It is warm and moves along."),
        "risky_demos": rows(6, "Harm", completion="Let us not.", risk=""),
        "ordinary_prompts": rows(60, "Explain"),
        "risky_prompts": rows(60, "Break", risk=""),
        "ordinary_test": rows(6, "Compare"),
        "risky_test": rows(6, "Steal", risk=""),
        "borderline_prompts": rows(6, "Kill"),
        "open_pairs": rows(30, "Name", chosen="The acting is warm.", rejected="A dull plot."),
    }
    for name, of in files.items():
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in of))


def people_answer(database: Database) -> dict[str, int]:
    """Somebody answers all that is asked in `accord web`, in four levels. Returns how much of each campaign."""
    answered = {}
    with database.writing() as connection:
        who = next(iter(users.every(connection)), None) or users.create(connection, 1.0, "ana", "annotator")
        asked = [one for one in campaigns.every(connection) if not campaigns.progress(connection, one).complete]
    for of in asked:
        for number in itertools.count():
            with database.writing() as connection:
                given = queue.lease(connection, 1.0, who.id, of)
                if given is None:
                    break
                content: dict[str, Any] = {"ranks": [1, 2], "strength": list(GRADES)[number % 4]}
                if of.settings.safety:
                    content["safe"] = [True, number % 2 == 0]
                sent = Sent(f"{of.name} {number}", "answer", content, 2.0)
                queue.submit(connection, 1.0, who.id, given.assignment, sent)
            answered[of.name] = number + 1
    return answered


@pytest.fixture(scope="module")
def people(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[dict[str, int]]]]:
    """The folder of a finished run of llama2, and what people answered each time that it waited for them: at first
    it was left, and begun again with the same command; after that it stayed."""
    with contextlib.chdir(tmp_path_factory.mktemp("own")):
        own_files()
        store, finished = tmp_path_factory.mktemp("people"), threading.Event()
        with pytest.raises(Waiting, match="0 of 10 answers are in"):
            run_tiny(tiny_model, store, recipe="llama2", wait=False)
        with closing(open_labels(store / "labels.db")) as database:
            answered = [people_answer(database)]

        def people() -> None:
            with closing(open_labels(store / "labels.db")) as database:
                while not finished.wait(0.1):
                    if new := people_answer(database):
                        answered.append(new)

        thread = threading.Thread(target=people)
        thread.start()
        try:
            with patch.object(collect, "_POLL_SECONDS", 0.02):
                run = run_tiny(tiny_model, store, recipe="llama2")
        finally:
            finished.set()
            thread.join()
        yield run, answered


def test_the_recipe_for_people_is_planned_with_files_of_the_right_form(tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path):
        own_files()
        plan = make_plan(load_recipe(shipped_recipe("llama2")), STEPS)
    assert plan.cautions == ()
    assert [step.name for step in plan.steps if step.kind == "ppo"] == ["ppo-5"]
    (ppo,) = [step.config_json() for step in plan.steps if step.kind == "ppo"]
    assert ppo["prompts_per_iteration"] * ppo["num_samples"] == 512
    assert (ppo["num_minibatches"], ppo["kl_coef"], ppo["score_normalisation"]) == (8, 0.01, "batch")
    temperatures = [step.config_json()["temperature"] for step in plan.steps if step.kind == "reject"]
    assert temperatures == [1.0, 1.2, 1.2, 1.2, 1.2]


def test_people_are_asked_twice_a_round(people: tuple[Path, list[dict[str, int]]]) -> None:
    run, answered = people
    assert len(answered) == 10
    assert all(len(one) == 1 for one in answered), "helpfulness and safety one after the other"
    for number in range(1, 6):
        for what in ("helpful", "safety"):
            records = read_records(run / f"steps/{what}_labels-{number}/train.jsonl", "comparisons")
            assert len(records) >= 8
            said = [judgement for _, judgements in records for judgement in judgements]
            assert not any(judgement.annotator.startswith("simulated") for judgement in said)
            assert {sum(grade or 0 for grade in one.grades) for one in said} == {1.0, 2.0, 3.0, 4.0}
            assert {len(one.safe) for one in said} == ({2} if what == "safety" else {0})
    assert read(run / "steps/safe-5/summary.json")["num_comparisons"] > 20


def test_v1_to_v4_are_rejection_sampling_alone_and_v5_is_ppo_on_top(people: tuple[Path, list[dict[str, int]]]) -> None:
    run, _ = people
    kinds = [(row["kind"], row["name"]) for row in read(run / "plan.json")["steps"]]
    assert [name for kind, name in kinds if kind in ("reject", "ppo", "ghost_attention", "distill")] == [
        *(f"reject-{number}" for number in range(1, 6)),
        "ppo-5",
        "ghost_attention",
        "distill",
    ]
    assert parents(run, "reject-5", "earlier") == [f"reject-{number}" for number in range(1, 5)]
    assert (parents(run, "reject-5", "start"), parents(run, "ppo-5", "start")) == (["sft"], ["reject-5"])
    assert (parents(run, "helpful-5", "start"), parents(run, "ghost", "start")) == (["reject-4"], ["ppo-5"])
    assert parents(run, "distill", "start") == ["ghost"]
    attacked = read(run / "steps/redteam/results.json")
    rejections = [f"reject-{number}" for number in range(1, 6)]
    assert list(attacked["policies"]) == ["sft", *rejections, "ppo-5", "ghost", "distill"]
    assert (attacked["num_attacks"], attacked["num_safe"]) == (6, 6)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert all(told in page for told in ("Attacks: redteam", "accuracy-5", "drift-5", "ppo-5", "consistency"))
    assert {"held_out"} <= set(read(run / "steps/distill/results.json")["safety"])
    assert read(run / "steps/distill/results.json")["false_refusals"] is not None
    assert read(run / "steps/piecewise-5/summary.json")["recall"] > 0


@pytest.mark.long
def test_stopped_in_v5_and_run_again_it_is_the_same(
    people: tuple[Path, list[dict[str, int]]], tiny_model: Path, tmp_path: Path
) -> None:
    """And nobody is asked again: what people said is in the store."""
    run, _ = people
    store = without_those_after(run, tmp_path / "store", "safety_labels-5")
    run_with_stops(("reward", "ppo"), tiny_model, store, "llama2")
    assert digests(store) == digests(run.parents[1])
