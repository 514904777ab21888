"""Safety context distillation: what is learned, by imitation and by KL; what is measured; stops."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from accord.data import catalog
from accord.engine.scorer import per_branch
from accord.errors import Interrupted
from accord.models.scalar import ScalarModel
from accord.results import write_report
from accord.store.artifacts import Store
from accord.store.workspace import Workspace
from accord.sweep.names import is_count, logged_by
from accord.types import Message, Prompt, Response
from tests.fixtures.distilled import (
    KEYS,
    LOOKED_AT,
    PROMPTS,
    distill,
    estimated,
    logit,
    made_by,
    planned,
    read,
    risky_folder,
    rows,
)
from tests.fixtures.made_up_data import made_up
from tests.fixtures.recipes import run_steps

__all__ = ["made_up", "risky_folder"]


@pytest.fixture(autouse=True)
def folder(risky_folder: Path) -> Path:
    return risky_folder


def test_demonstrations_are_imitated_too_in_their_share(folder: Path, tiny_model: Path) -> None:
    data = ", demonstrations: mine.demos"
    alone, whole, part = (
        made_by(folder, tiny_model, distill(more)) for more in ("", data, data + ", demonstrations_share: 0.4")
    )
    num = len(rows(alone / "best.jsonl"))
    assert "beside" not in read(alone / "summary.json")["training"]
    assert read(whole / "summary.json")["training"]["beside"]["num_demonstrations"] == 8
    share = read(part / "summary.json")["training"]["beside"]["num_demonstrations"]
    assert share == round(num * 0.4 / 0.6) > 0
    assert rows(part / "metrics.jsonl")[-1]["num_examples"] == num + share


AFTER = -1


def stopped(
    folder: Path, model: Path, steps: str, monkeypatch: pytest.MonkeyPatch, *stops: int
) -> tuple[Path, int, list[str]]:
    """The step's folder, after stops at the numbers of times that it asks whether to, or (AFTER) once the policy is
    trained; how often it asked in all; and the stages in which it was stopped."""
    asks, stages, left = 0, list[str](), list(stops)

    def asked(work: Workspace) -> bool:
        nonlocal asks
        if not work.folder.name.startswith("distill"):
            return False
        asks += 1
        hit = bool(left) and ((work.out / "model").is_dir() if left[0] == AFTER else asks == left[0])
        return hit and bool(left.pop(0))

    monkeypatch.setattr(Workspace, "stop_requested", asked)
    for _ in stops:
        with pytest.raises(Interrupted):
            run_steps(folder, model, steps)
        *_, last = sorted((folder / "store/work").glob("distill-*/checkpoints/0*"))
        stages.append(read(last / "state.json").get("stage", "training"))
    return made_by(folder, model, steps), asks, stages


def assert_same(first: Path, second: Path) -> None:
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
    for path in files:
        if path.name != "manifest.json":
            assert (first / path).read_bytes() == (second / path).read_bytes(), path


def test_it_goes_on_where_it_was(folder: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accord.steps.distill_asked.CHUNK", 4)
    steps = distill(", num_epochs: 3", KEYS.replace("batch_size: 4", "batch_size: 1"))
    whole, num, _ = stopped(folder / "whole", tiny_model, steps, monkeypatch)
    again, more, stages = stopped(folder / "again", tiny_model, steps, monkeypatch, 2, 9, num - 8)
    assert stages == ["asking", "asking", "training"]
    assert more < num + num // 2, "what was asked is not asked again"
    assert_same(whole, again)


def test_before_and_after_are_measured_on_the_same_draws(folder: Path, tiny_model: Path) -> None:
    at = made_by(folder, tiny_model, distill(LOOKED_AT + ", num_epochs: 20", KEYS.replace("1.0e-3", "1.0e-2")))
    answers, tried, found = rows(at / "answers.jsonl"), rows(at / "tried.jsonl"), read(at / "results.json")
    sets = {name: [row for row in answers if row["set"] == name] for name in ("asked_again", "held_out", "borderline")}
    assert [row["id"] for row in sets["asked_again"]] == [row["id"] for row in tried]
    assert [len(sets[name]) for name in ("held_out", "borderline")] == [5, 7]
    assert any(row["before"] != one["original"] for row, one in zip(sets["asked_again"], tried, strict=True)), (
        "the answer that a prompt was chosen by is none to measure by"
    )
    for name in ("asked_again", "held_out"):
        for row in sets[name]:
            assert (row["before_safety"], row["after_safety"]) == (logit(row["before"]), logit(row["after"]))
        for when in ("before", "after"):
            mean = sum(row[f"{when}_safety"] for row in sets[name]) / len(sets[name])
            assert found["safety"][name][when]["value"] == pytest.approx(mean)
            assert found["scores"][name][when] == [row[f"{when}_safety"] for row in sets[name]]
    assert any(row["before"] != row["after"] for row in answers)
    kept = [row for row, one in zip(sets["asked_again"], tried, strict=True) if one["outcome"] == "kept"]
    assert found["safety"]["distilled"]["num"] == len(kept)
    gain = sum(row["after_safety"] - row["before_safety"] for row in kept) / len(kept)
    assert found["safety"]["distilled"]["difference"]["value"] == pytest.approx(gain)
    assert found["false_refusals"] | {"before": 0, "after": 0} == {
        "by": "phrases-1",
        "num": 7,
        "num_unknown": 0,
        "before": 0,
        "after": 0,
        "newly_refused": 0,
        "newly_answered": 0,
        "p_value": 1.0,
    }
    assert all("before_safety" not in row for row in sets["borderline"])
    assert [point["kept"] for point in found["points"]].count(True) == len(kept)
    assert found["contexts"].keys() == {"none", "generic", "tailored"}
    summary = read(at / "summary.json")
    assert summary["held_out"] == {
        "num_prompts": 5,
        "num_also_distilled": 0,
        "num_too_long": 0,
        "num_with_control_tokens": 0,
    }
    assert summary["safety"]["held_out"]["after"] == found["safety"]["held_out"]["after"]["value"]
    names = logged_by(planned(distill(LOOKED_AT)).step("distill")) or frozenset()
    numbers = {f"safety.{name}.{key}" for name, row in summary["safety"].items() for key in row}
    assert numbers | {f"false_refusals.{key}" for key in summary["false_refusals"]} <= names


def test_a_policy_that_hardly_changes_says_the_same(folder: Path, tiny_model: Path) -> None:
    at = made_by(folder, tiny_model, distill(LOOKED_AT, KEYS.replace("1.0e-3", "1.0e-12")))
    assert all(row["before"] == row["after"] for row in rows(at / "answers.jsonl"))
    assert read(at / "summary.json")["alarms"] == []
    assert read(at / "results.json")["safety"]["held_out"]["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_held_out_prompts_that_are_distilled_are_left_out(folder: Path, tiny_model: Path) -> None:
    PROMPTS["both"] = [*PROMPTS["hidden"][:2], *PROMPTS["risky"]]
    try:
        catalog.BUILTIN["made-up"].parts["both"] = "prompts"  # type: ignore[index]
        at = made_by(folder, tiny_model, distill(", held_out: mine.both"))
    finally:
        del PROMPTS["both"]
    told = read(at / "summary.json")
    assert told["held_out"]["num_also_distilled"] == told["num_tried"] > 0
    assert told["held_out"]["num_prompts"] == 12 - told["num_tried"]


def test_by_kl_the_student_comes_nearer_to_the_teacher_with_the_preprompt(folder: Path, tiny_model: Path) -> None:
    keys = KEYS.replace("learning_rate: 1.0e-3", "learning_rate: 1.0e-2").replace("batch_size: 4", "batch_size: 16")
    steps = distill(", how: kl, demonstrations: mine.demos, num_epochs: 30, warmup: 0", keys)
    at = made_by(folder, tiny_model, steps)
    metrics, summary = rows(at / "metrics.jsonl"), read(at / "summary.json")
    names = logged_by(planned(steps).step("distill")) or frozenset()
    assert {name for name in metrics[0] if not is_count(name)} <= names
    assert "mean_token_accuracy" not in names
    assert metrics[-1]["loss"] < 0.7 * metrics[0]["loss"]
    kept = summary["num_kept"]
    assert summary["training"] == {
        "num_demonstrations": kept,
        "num_optimizer_steps": 30,
        "beside": {"num_demonstrations": 8, "num_too_long": 0, "num_unusable": 0},
    }
    work = estimated(folder, tiny_model, steps)
    plain = estimated(folder, tiny_model, steps.replace("how: kl", "how: sft"))
    assert work.tokens("forward") > plain.tokens("forward")


@pytest.mark.long
def test_by_kl_it_goes_on_where_it_was(folder: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accord.steps.distill_asked.CHUNK", 4)
    steps = distill(LOOKED_AT + ", how: kl, num_epochs: 3", KEYS.replace("batch_size: 4", "batch_size: 1"))
    whole, num, _ = stopped(folder / "whole", tiny_model, steps, monkeypatch)
    again, _, stages = stopped(folder / "again", tiny_model, steps, monkeypatch, 2, num - 12, AFTER)
    assert stages == ["asking", "training", "after"]
    assert_same(whole, again)


def test_a_trained_safety_reward_says_it_by_its_raw_score_and_the_report_shows_it(
    folder: Path, tiny_model: Path
) -> None:
    """With adapters, and by the teacher's distributions."""
    before = "  - reward: {name: safety, data: mine.labels, safety_coef: 1, batch_size: 4, learning_rate: 1.0e-2}\n"
    keys = KEYS.replace("calibration: {slope: 1}, ", "") + ", below: 1, how: kl, lora: {rank: 4}" + LOOKED_AT
    run = run_steps(
        folder,
        tiny_model,
        distill(keys=keys, before=before),
        finish=lambda at, _: write_report(at, Store(folder / "store")),
    )
    model = ScalarModel.load(run / "steps/safety/model", torch.float32)
    assert (model.normalisation.gain, model.normalisation.offset) != (1.0, 0.0)
    tried = rows(run / "steps/distill/tried.jsonl")
    prompts = [Prompt(row["id"], (Message("user", row["prompt"][0]["content"]),)) for row in tried]
    trees = [
        model.template.scored_tree(prompt, [Response(row["original"])])
        for prompt, row in zip(prompts, tried, strict=True)
    ]
    found = per_branch(trees, model.scores)
    assert [row["original_safety"] for row in tried] == pytest.approx([float(one[0]) for one in found], abs=1e-4)
    assert (run / "policy").resolve() == (run / "steps/distill/model").resolve()
    page = (run / "report.html").read_text()
    assert "Safety context distillation: distill" in page
    assert "Safety with a preprompt against without" in page
    assert "Training curves of distill" in page
