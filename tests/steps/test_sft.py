"""Supervised fine-tuning as a step: conversations, texts, mixtures, packed rows, and held-out data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from transformers import AutoModelForCausalLM

from accord.data.records import RecordKind, write_records
from accord.engine import imitation
from accord.errors import Interrupted, UserError
from accord.plan import Plan, make_plan
from accord.recipe import parse_recipe
from accord.steps import sft
from accord.steps.base import Input, Job, StepConfig, StepKind
from accord.steps.registry import STEPS
from accord.store.artifacts import Artifact
from accord.store.workspace import Workspace
from accord.types import Demonstration, Message, PlainText, Prompt, Response

LINES = ["The plot is dull.", "A warm story.", "The acting is quiet and warm.", "It is a worse ending."]
UNLIKE = ["The director forgot a joke.", "It knows when to stop, and nicely."]
ASK = Message("user", "Write one line of a film review.")


def _single(count: int) -> list[Demonstration]:
    lines = [f"{LINES[i % 4]} {LINES[i // 4 % 4]}" for i in range(count)]
    return [Demonstration(Prompt(f"d{i}", (ASK,)), Response(line)) for i, line in enumerate(lines)]


def _talks(count: int) -> list[Demonstration]:
    turns = (ASK, Message("assistant", LINES[0]), Message("user", "Another."))
    return [Demonstration(Prompt(f"t{i}", turns), Response(LINES[i % 4]), 0) for i in range(count)]


TEXTS = [PlainText(f"p{i}", " ".join(LINES * (i + 1))) for i in range(5)]
PARTS: Mapping[str, tuple[RecordKind, list[Any]]] = {
    "single": ("demonstrations", _single(12)),
    "talks": ("demonstrations", _talks(6)),
    "held": ("demonstrations", [Demonstration(Prompt(f"h{i}", (ASK,)), Response(UNLIKE[i])) for i in range(2)]),
    "docs": ("texts", TEXTS),
}


class DataConfig(StepConfig):
    source: str

    def parts(self) -> Mapping[str, RecordKind]:
        return {name: kind for name, (kind, _) in PARTS.items()} | {"pairs": "comparisons", "scores": "ratings"}


REGISTRY = {**STEPS, "data": StepKind("data", 1, DataConfig, lambda job: None)}


def _plan(config: str, model: str = "smollm2-135m-instruct") -> Plan:
    text = f"model: {model}\ndata: {{mine: made-up}}\nsteps:\n  - sft: {{{config}}}\n"
    return make_plan(parse_recipe(text, Path("r.yaml")), REGISTRY)


def _run(folder: Path, model: Path, config: str, *, stop_after: int | None = None) -> Path:
    """Runs the step as the recipe would have it; returns the folder of what it writes."""
    step = _plan(config, str(model)).step("sft")
    data = folder.parent / "data"
    if not data.exists():
        data.mkdir()
        for name, (kind, records) in PARTS.items():
            write_records(data / f"{name}.jsonl", kind, records)
    artifact = Artifact(data, {"files": {f"{name}.jsonl": {} for name in PARTS}})
    start = folder.parent / "start"
    if not start.exists():
        start.mkdir()
        (start / "model").symlink_to(model)
    inputs = {
        field: tuple(
            Input(link.name, Artifact(start, {}) if link.part is None else artifact, link.part, link.kind)
            for link in links
        )
        for field, links in step.parents.items()
    }
    work = Workspace(
        folder,
        min_checkpoint_seconds=1e9,
        stop=lambda: stop_after is not None and len(work.metrics.read()) >= stop_after,
    )
    with patch.object(imitation, "compute_dtype", lambda: torch.float32):
        sft.run(Job("sft", step.config, step.seed, inputs, work))
    return work.out


def _summary(out: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return summary


def _rows(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def _weights(out: Path) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(out / "model")
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_conversations_and_texts_are_put_together(tiny_model: Path, tmp_path: Path) -> None:
    config = "data: [mine.single, mine.talks, mine.docs], batch_size: 4, num_epochs: 4, learning_rate: 3.0e-3"
    out = _run(tmp_path / "work", tiny_model, config)
    summary, rows = _summary(out), _rows(out)
    assert (summary["num_demonstrations"], summary["num_texts"], summary["num_windows"]) == (18, 5, 5)
    assert rows[-1]["num_examples"] == 4 * 23
    assert rows[-1]["loss"] < rows[0]["loss"] - 0.5
    assert rows[-1]["mean_token_accuracy"] > rows[0]["mean_token_accuracy"]
    assert rows[-1]["num_tokens"] == 4 * rows[5]["num_tokens"] > 0  # 23 examples: 6 optimizer steps an epoch


def test_the_last_turn_alone(tiny_model: Path, tmp_path: Path) -> None:
    config = "data: mine.talks, batch_size: 6, max_response_tokens: 5"
    with pytest.raises(UserError, match="none is left"):  # the first turn has five tokens and its end
        _run(tmp_path / "all", tiny_model, config)
    summary = _summary(_run(tmp_path / "last", tiny_model, f"{config}, last_turn_only: true"))
    assert 0 < summary["num_demonstrations"] < 6 == summary["num_demonstrations"] + summary["num_too_long"]


def test_documents_are_cut_at_max_tokens(tiny_model: Path, tmp_path: Path) -> None:
    out = _run(tmp_path / "work", tiny_model, "data: mine.docs, max_tokens: 32")
    summary = _summary(out)
    assert summary["num_windows"] > summary["num_texts"] == 5
    assert summary["num_too_long"] == 0
    longer = _run(tmp_path / "longer", tiny_model, "data: mine.docs, max_tokens: 32, max_tokens_per_example: 64")
    assert summary["num_windows"] > _summary(longer)["num_windows"] > 5


def test_what_the_model_cannot_take_is_left_out(tiny_model: Path, tmp_path: Path) -> None:
    """The tiny model takes 256 tokens."""
    long = [Demonstration(Prompt("long", (ASK,)), Response(" ".join(LINES * 30)))]
    with patch.dict(PARTS, {"single": ("demonstrations", [*_single(3), *long])}):
        summary = _summary(_run(tmp_path / "work", tiny_model, "data: mine.single"))
    assert (summary["num_demonstrations"], summary["num_too_long"]) == (3, 1)


def test_packed_rows_hold_all_examples(tiny_model: Path, tmp_path: Path) -> None:
    config = "data: [mine.single, mine.talks], batch_size: 9, max_tokens: 128, num_epochs: 2, packing: true"
    out = _run(tmp_path / "work", tiny_model, config)
    summary, rows = _summary(out), _rows(out)
    assert summary["num_rows"] < 18
    assert 0.5 < summary["share_filled"] <= 1
    assert rows[-1]["num_examples"] == 36
    apart = _rows(_run(tmp_path / "apart", tiny_model, config.replace("true", "false")))
    assert rows[-1]["num_tokens"] == apart[-1]["num_tokens"]


VALIDATED = (
    "data: mine.single, validation: mine.held, batch_size: 4, num_epochs: 6, learning_rate: 2.0e-2, "
    "validate_every: 2, early_stopping: 2"
)


def test_the_best_weights_by_held_out_loss_are_saved_also_after_a_stop(tiny_model: Path, tmp_path: Path) -> None:
    """A learning rate far too high for so few examples: the held-out loss soon rises."""
    out = _run(tmp_path / "whole", tiny_model, VALIDATED)
    summary, rows = _summary(out), _rows(out)
    losses = {int(row["iteration"]): row["eval_loss"] for row in rows if "eval_loss" in row}
    assert list(losses) == list(range(2, len(rows) + 1, 2))
    assert summary["validation"]["num_demonstrations"] == 2
    assert summary["stopped_early"]
    assert summary["best_eval_loss"] == losses[summary["best_step"]] == min(losses.values())
    assert summary["num_optimizer_steps"] == len(rows) == summary["best_step"] + 4
    last = _run(tmp_path / "last", tiny_model, f"{VALIDATED}, keep: last")
    assert not torch.equal(_weights(out), _weights(last))
    for stop_after in (summary["best_step"] - 1, summary["best_step"] + 1, len(rows)):
        cut = tmp_path / f"cut{stop_after}"
        with pytest.raises(Interrupted):
            _run(cut, tiny_model, VALIDATED, stop_after=stop_after)
        resumed = _run(cut, tiny_model, VALIDATED)
        assert torch.equal(_weights(resumed), _weights(out))
        assert (_rows(resumed), _summary(resumed)) == (rows, summary)


def test_measuring_does_not_change_the_training(tiny_model: Path, tmp_path: Path) -> None:
    plain = "data: mine.single, batch_size: 4"
    out = _run(tmp_path / "plain", tiny_model, plain)
    watched = _run(tmp_path / "watched", tiny_model, f"{plain}, validation: mine.held, validate_every: 1, keep: last")
    assert torch.equal(_weights(out), _weights(watched))


def test_the_measured_loss_is_that_of_training_before_it_moves(tiny_model: Path, tmp_path: Path) -> None:
    """The mean over tokens, on the same examples."""
    out = _run(tmp_path / "work", tiny_model, "data: mine.talks, batch_size: 6, learning_rate: 1.0e-12")
    with patch.dict(PARTS, {"held": PARTS["talks"]}):
        other = tmp_path / "other"
        other.mkdir()
        watched = _run(other / "work", tiny_model, "data: mine.talks, validation: mine.held, learning_rate: 1.0e-12")
    assert _rows(watched)[0]["eval_loss"] == pytest.approx(_rows(out)[0]["loss"], abs=1e-5)


def test_parts_of_any_fitting_kind() -> None:
    assert [link.part for link in _plan("data: [mine.docs, mine.pairs]").step("sft").parents["data"]] == [
        "docs",
        "pairs",
    ]
    with pytest.raises(UserError, match=r"'mine.scores' holds ratings, and demonstrations or texts are wanted here"):
        _plan("data: mine.scores")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("data: mine.single, early_stopping: 2", "early_stopping needs something to measure"),
        ("data: mine.single, validate_every: 2", "validate_every needs something to measure"),
        ("data: mine.single, validation: mine.single", "mine.single is trained on, so it cannot be the validation"),
        ("data: [mine.docs, mine.single], validation: [mine.single]", "mine.single is trained on"),
        ("data: []", "an empty list names no data"),
        ("data: mine.single, keep: first", "'best' or 'last'"),
        ("data: mine.single, max_unusable: 2", "less than or equal to 1"),
        ("data: mine.docs, max_tokens: 1", "greater than 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(config: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        _plan(config)
