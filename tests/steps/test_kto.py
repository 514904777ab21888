"""KTO as a step: labelled responses, comparisons seen as such, weights, and what a stop does not change."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from accord.engine.direct import reference
from accord.errors import Interrupted, UserError
from accord.plan import Plan, make_plan
from accord.recipe import parse_recipe
from accord.steps.registry import STEPS
from accord.types import LabelledResponse, Message, Prompt, Response
from tests.fixtures.preferences import BAD, GOOD, parts
from tests.fixtures.recipes import run_steps
from tests.fixtures.stopping import stoppable

__all__ = ["parts"]

SMALL = "learning_rate: 3.0e-3, batch_size: 8, num_epochs: 3"
KTO = f"  - kto: {{data: mine.thumbs, {SMALL}, validation: mine.held, validate_every: 2}}\n"
ASK = (Message("user", "Write one line of a film review."),)
Parts = dict[str, list[Any]]


@pytest.fixture(autouse=True)
def _one_thread(parts: Parts) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    parts["thumbs"] += [labelled(i, good=i % 3 > 0) for i in range(15)]
    yield
    torch.set_num_threads(before)


def labelled(i: int, *, good: bool, text: str | None = None) -> LabelledResponse:
    prompt = Prompt(f"p{i}", (Message("user", f"Write line {i} of a film review."),))
    return LabelledResponse(prompt, Response(text or (GOOD if good else BAD)[i % 4]), good)


def rows_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def summary_of(folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def plan_of(steps: str, model: str = "smollm2-135m-instruct") -> Plan:
    text = f"model: {json.dumps(model)}\ndata: {{mine: builtin:made-up}}\nsteps:\n{steps}"
    return make_plan(parse_recipe(text, Path("few.yaml")), STEPS)


def test_good_responses_gain_and_bad_ones_lose(tmp_path: Path, tiny_model: Path) -> None:
    folder = run_steps(tmp_path, tiny_model, KTO) / "steps/kto"
    rows, summary = rows_of(folder), summary_of(folder)
    start, first, last = rows[0], rows[1], rows[-1]
    assert start["eval_rewards/margins"] == pytest.approx(0, abs=1e-4)
    # 10 good and 5 bad ones, balanced: 1 and 2. At the reference each loss is half its weight.
    assert (summary["num_good"], summary["num_bad"], summary["weight_ratio"]) == (10, 5, 1.0)
    assert summary["parameters"] == {"beta": 0.1, "desirable_weight": 1.0, "undesirable_weight": 2.0}
    assert summary["validation"]["num_good"] == summary["validation"]["num_bad"] == 4
    assert first["kl"] == pytest.approx(0, abs=1e-4)
    assert first["rewards/chosen"] == pytest.approx(0, abs=1e-4)
    assert 0.5 < first["loss"] < 1.0
    assert last["rewards/margins"] == pytest.approx(last["rewards/chosen"] - last["rewards/rejected"], abs=1e-6)
    assert last["rewards/margins"] > 0.3
    assert last["eval_rewards/margins"] > 0.3
    assert len(rows) == 1 + 6  # 15 examples, 8 an optimizer step


def test_each_pass_of_the_reference_has_a_name(
    tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_steps(tmp_path, tiny_model, KTO, "kto.num_epochs=0.5")
    shown = re.findall(r"^kto: (reference.*?)  (\d+)/\2 prompts", capsys.readouterr().err, re.MULTILINE)
    assert shown == [  # 15 examples, and 8 of the validation
        ("reference", "15"),
        ("reference, mismatched", "15"),
        ("reference, validation", "8"),
        ("reference, validation, mismatched", "8"),
    ]


def test_comparisons_are_seen_as_good_and_bad_responses(tmp_path: Path, tiny_model: Path) -> None:
    """Eight pairs; of three responses in order the middle one is neither."""
    folder = run_steps(tmp_path, tiny_model, f"  - kto: {{data: [mine.pairs, mine.thumbs], {SMALL}}}\n") / "steps/kto"
    assert (summary_of(folder)["num_good"], summary_of(folder)["num_bad"]) == (9 + 10, 9 + 5)


def test_a_second_time_the_reference_is_not_asked(tmp_path: Path, tiny_model: Path) -> None:
    """The answers to other prompts are drawn by the step's seed, so those of another step are others."""
    run_steps(tmp_path, tiny_model, KTO)
    with patch.object(reference, "_make", side_effect=AssertionError("the reference was asked")):
        run_steps(tmp_path, tiny_model, KTO, "kto.beta=0.5")
        with pytest.raises(AssertionError, match="was asked"):
            run_steps(tmp_path, tiny_model, KTO.replace("data:", "name: other, data:"))


def test_stopped_it_goes_on_to_the_same_bytes(tmp_path: Path, tiny_model: Path) -> None:
    run = run_steps(tmp_path, tiny_model, KTO)
    whole, attempt = run / "steps/kto", stoppable(run, "kto", tmp_path)
    with pytest.raises(Interrupted):
        attempt(3)
    out = attempt(None)
    assert rows_of(out) == rows_of(whole)
    assert (out / "model/model.safetensors").read_bytes() == (whole / "model/model.safetensors").read_bytes()


def test_weights_out_of_balance_are_warned_of(
    tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """10 good and 5 bad ones, each with weight 1."""
    run_steps(tmp_path, tiny_model, KTO, "kto.desirable_weight=1", "kto.undesirable_weight=1", "kto.num_epochs=0.5")
    assert "warning: kto: all good responses together weigh 2 times what the bad ones do" in capsys.readouterr().err
    run_steps(tmp_path, tiny_model, KTO, "kto.desirable_weight=1", "kto.num_epochs=0.5")
    assert "warning" not in capsys.readouterr().err


def test_what_does_not_suffice_is_refused(parts: Parts, tmp_path: Path, tiny_model: Path) -> None:
    parts["thumbs"][:] = [labelled(i, good=True) for i in range(4)] + [labelled(9, good=False, text="A<|im_end|>")]
    message = "KTO learns from good and from bad responses, and of 5 there are 4 good, 0 bad, 1 with control tokens"
    with pytest.raises(
        UserError, match=rf"few\.yaml:4:kto\.data: {message}, 0 without tokens, 0 too long\n  Add responses"
    ):
        run_steps(tmp_path / "good", tiny_model, KTO)
    parts["thumbs"][:] = [replace(labelled(i, good=i == 0), prompt=Prompt(f"p{i}", ASK)) for i in range(2)]
    with pytest.raises(UserError, match=r"all responses are to one prompt, and KTO's reference point needs answers"):
        run_steps(tmp_path / "one", tiny_model, KTO)


def test_few_examples_an_optimizer_step_are_warned_of() -> None:
    (caution,) = plan_of("  - kto: {data: mine.thumbs, batch_size: 4}\n").cautions
    assert caution.startswith("few.yaml:4:kto.batch_size: the reference point is estimated from an optimizer step's 4")
    (caution,) = plan_of("  - kto: {data: mine.thumbs, batch_size: 1}\n").cautions
    assert caution.endswith("an optimizer step's only example, and is mostly noise. Set it to 8 or more.")
    with pytest.raises(UserError, match=r"kto\.validate_every: validate_every needs something to measure"):
        plan_of("  - kto: {data: mine.thumbs, validate_every: 4}\n")
