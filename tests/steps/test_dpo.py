"""Direct preference optimisation as a step: what it starts from, where it ends, and what a stop does not change."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from accord.engine.direct import preference, reference
from accord.engine.direct import trainee as direct
from accord.engine.direct.config import DEFAULTS
from accord.errors import Interrupted, UserError
from accord.models.policy import Policy
from accord.plan import Plan, make_plan
from accord.recipe import parse_recipe
from accord.steps.registry import STEPS
from accord.text.tree import TreeBatch
from tests.fixtures.preferences import BAD, GOOD, compared, parts
from tests.fixtures.recipes import run_steps
from tests.fixtures.stopping import stoppable

__all__ = ["parts"]

SMALL = "learning_rate: 3.0e-3, batch_size: 4, num_epochs: 2"
DPO = f"  - dpo: {{data: mine.pairs, {SMALL}, validation: mine.held, validate_every: 2}}\n"
Parts = dict[str, list[Any]]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def rows_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def summary_of(folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def plan_of(steps: str, model: str = "smollm2-135m-instruct") -> Plan:
    text = f"model: {json.dumps(model)}\ndata: {{mine: builtin:made-up}}\nsteps:\n{steps}"
    return make_plan(parse_recipe(text, Path("few.yaml")), STEPS)


def test_from_ln_2_to_an_order_that_holds_out_of_sample(parts: Parts, tmp_path: Path, tiny_model: Path) -> None:
    folder = run_steps(tmp_path, tiny_model, DPO) / "steps/dpo"
    rows = rows_of(folder)
    start, first, last = rows[0], rows[1], rows[-1]
    assert len(rows) == 1 + 6  # 9 comparisons, 4 an optimizer step: 3 an epoch
    assert start["eval_loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert start["eval_rewards/margins"] == pytest.approx(0, abs=1e-4)
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert first["rewards/chosen"] == pytest.approx(0, abs=1e-4)
    assert first["rewards/rejected"] == pytest.approx(0, abs=1e-4)
    assert first["logps/chosen"] < -10
    assert last["loss"] < 0.5
    assert last["rewards/accuracies"] == 1.0
    assert last["num_examples"] == 18
    measured = [row for row in rows if "eval_loss" in row]
    assert [row["iteration"] for row in measured] == [0, 2, 4, 6]
    assert measured[-1]["eval_rewards/accuracies"] == 1.0
    assert {name for name in last if name.startswith("eval_")} == {
        f"eval_{name}" for name in first if "/" in name or name == "loss"
    }
    summary = summary_of(folder)
    assert summary["num_comparisons"] == 9
    assert summary["num_pairs"] == 8 + 3
    assert summary["validation"]["num_pairs"] == 4
    assert summary["parameters"] == {"beta": 0.1}
    assert summary["best_eval_loss"] == min(row["eval_loss"] for row in measured[1:])


def test_implicit_rewards_are_beta_times_what_the_policy_gained(parts: Parts, tmp_path: Path, tiny_model: Path) -> None:
    """Of the last optimizer step, and of the held-out data by the saved weights."""
    parts["held"] = parts["held"][:1]
    folder = run_steps(tmp_path, tiny_model, DPO) / "steps/dpo"
    last, first = rows_of(folder)[-1], rows_of(folder)[1]
    assert last["rewards/margins"] == pytest.approx(last["rewards/chosen"] - last["rewards/rejected"], abs=1e-5)
    before, after = (Policy.load(path) for path in (folder.parent / "model/model", folder / "model"))
    comparison, _ = parts["held"][0]
    tree = before.template.tree(comparison.prompt, comparison.responses)
    with torch.no_grad():
        batch = TreeBatch.from_trees([tree])
        gained = reference.branch_logprobs(after, batch) - reference.branch_logprobs(before, batch)
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-4)
    assert last["eval_rewards/chosen"] == pytest.approx(0.1 * float(gained[0]), abs=1e-4)
    assert last["eval_rewards/rejected"] == pytest.approx(0.1 * float(gained[1]), abs=1e-4)


def test_every_loss_lowers_itself_and_raises_the_margin(parts: Parts, tmp_path: Path, tiny_model: Path) -> None:
    steps = [f"  - dpo: {{name: {loss}, start: model, data: mine.pairs, {SMALL}, loss: {loss}}}\n" for loss in DEFAULTS]
    run = run_steps(tmp_path, tiny_model, "".join(steps))
    for loss in DEFAULTS:
        rows = rows_of(run / "steps" / loss)
        assert min(row["loss"] for row in rows) < rows[0]["loss"], loss
        assert rows[-1]["rewards/margins"] > rows[0]["rewards/margins"], loss
    kept = [path.name.partition("-")[0] for path in (tmp_path / "store/artifacts").iterdir()]
    assert kept.count("reference_logprobs") == 1


def test_a_loss_without_a_reference_asks_none(parts: Parts, tmp_path: Path, tiny_model: Path) -> None:
    with patch.object(reference, "branch_logprobs", side_effect=AssertionError("a reference was asked")):
        run_steps(tmp_path, tiny_model, f"  - dpo: {{data: mine.pairs, {SMALL}, loss: simpo, validation: mine.held}}\n")


def test_another_loss_on_the_same_data_asks_the_reference_nothing(
    parts: Parts, tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another beta, another seed, and adapters: only a policy that learns is computed with."""
    run_steps(tmp_path, tiny_model, DPO)
    assert "were in the store" not in capsys.readouterr().err
    more = (
        DPO
        + f"  - dpo: {{name: b, start: model, data: mine.pairs, {SMALL}, loss: ipo, validation: mine.held}}\n"
        + f"  - dpo: {{name: c, start: model, data: mine.pairs, {SMALL}, beta: 0.5, lora: {{rank: 4}}}}\n"
    )
    with patch.object(reference, "branch_logprobs", side_effect=AssertionError("the reference was asked")):
        run = run_steps(tmp_path, tiny_model, more)
    assert "prompts were in the store" in capsys.readouterr().err
    for name, at in (("b", 1), ("c", 0)):  # the first row of b is its validation's, before it learns
        assert rows_of(run / "steps" / name)[at]["rewards/margins"] == pytest.approx(0, abs=1e-4)
    other = f"  - dpo: {{name: d, start: model, data: mine.held, {SMALL}, batch_size: 2}}\n".replace(
        ", batch_size: 4", ""
    )
    with patch.object(reference, "branch_logprobs", side_effect=AssertionError("asked")):
        run_steps(tmp_path, tiny_model, other)  # the held-out data has been asked about, too
    with (
        patch.object(reference, "branch_logprobs", side_effect=AssertionError("asked")),
        pytest.raises(AssertionError, match="asked"),
    ):
        run_steps(tmp_path, tiny_model, f"  - dpo: {{data: [mine.pairs, mine.held], {SMALL}}}\n")


def test_the_reference_may_be_another_than_the_start(parts: Parts, tmp_path: Path, tiny_model: Path) -> None:
    """The second starts where the first ended, and its rewards are those of the first."""
    steps = (
        DPO
        + f"  - dpo: {{name: then, data: mine.pairs, reference: model, {SMALL}, learning_rate: 1.0e-9}}\n".replace(
            "learning_rate: 3.0e-3, ", ""
        )
    )
    run = run_steps(tmp_path, tiny_model, steps, "dpo.keep=last")
    first = rows_of(run / "steps/then")[0]
    assert first["rewards/accuracies"] == 1.0
    assert first["rewards/margins"] > 0.5


def test_adapters_start_at_the_reference_and_alone_learn(parts: Parts, tmp_path: Path, tiny_model: Path) -> None:
    step = f"  - dpo: {{data: mine.pairs, {SMALL}, lora: {{rank: 4}}}}\n"
    folder = run_steps(tmp_path, tiny_model, step) / "steps/dpo"
    rows = rows_of(folder)
    assert rows[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert rows[-1]["rewards/margins"] > 0.1
    assert (folder / "adapter/adapter_model.safetensors").is_file()


def test_stopped_after_two_it_goes_on_to_the_same_bytes(parts: Parts, tmp_path: Path, tiny_model: Path) -> None:
    """Of adapters; the test of KTO is the same of all weights."""
    steps = DPO.replace("data:", "lora: {rank: 4}, nll_coef: 0.2, max_tokens: 60, data:")
    run = run_steps(tmp_path, tiny_model, steps)
    attempt = stoppable(run, "dpo", tmp_path)
    with pytest.raises(Interrupted):
        attempt(3)
    out, whole = attempt(None), run / "steps/dpo"
    assert rows_of(out) == rows_of(whole)
    assert (out / "model/model.safetensors").read_bytes() == (whole / "model/model.safetensors").read_bytes()


@pytest.mark.parametrize(("num_epochs", "batch_size", "expected"), [(4, 3, range(13)), (2, 1, range(0, 19, 2))])
def test_measured_often_enough_for_the_alarm(
    parts: Parts, tmp_path: Path, tiny_model: Path, num_epochs: int, batch_size: int, expected: range
) -> None:
    """9 comparisons: 12 optimizer steps are each measured; of 18 every second (18 // 8). And before the first."""
    keys = f"num_epochs: {num_epochs}, batch_size: {batch_size}, validation: mine.held"
    rows = rows_of(run_steps(tmp_path, tiny_model, f"  - dpo: {{data: mine.pairs, {keys}}}\n") / "steps/dpo")
    assert [row["iteration"] for row in rows if "eval_loss" in row] == list(expected)


def test_displacement_is_told_of_by_default(parts: Parts, tmp_path: Path, tiny_model: Path) -> None:
    """Of 12 optimizer steps 13 measurements, in which the chosen responses and the order that holds both fall."""
    series = ({"loss": 1.0, "logps/chosen": -20.0 - i, "rewards/accuracies": 0.9 - i / 20} for i in range(13))
    step = "  - dpo: {data: mine.pairs, batch_size: 3, num_epochs: 4, validation: mine.held}\n"
    with patch.object(preference, "mean_metrics", lambda losses: lambda: next(series)):
        folder = run_steps(tmp_path, tiny_model, step) / "steps/dpo"
    assert next(series, None) is None
    assert [alarm["name"] for alarm in summary_of(folder)["alarms"]] == ["displacement"]


def test_every_difference_is_a_pair_unless_told_otherwise(parts: Parts, tmp_path: Path, tiny_model: Path) -> None:
    """Votes of two to one are mean grades of 2/3 and 1/3."""
    parts["pairs"][:] = [compared(str(i), GOOD[i], BAD[i], grades=(2 / 3, 1 / 3)) for i in range(3)]
    parts["pairs"].append(compared("clear", GOOD[3], BAD[3]))
    steps = "  - dpo: {data: mine.pairs}\n  - dpo: {name: clear, data: mine.pairs, tie_below: 0.5}\n"
    run = run_steps(tmp_path, tiny_model, steps)
    found = {name: summary_of(run / "steps" / name) for name in ("dpo", "clear")}
    assert (found["dpo"]["num_pairs"], found["dpo"]["num_without_pairs"]) == (4, 0)
    assert (found["clear"]["num_pairs"], found["clear"]["num_without_pairs"]) == (1, 3)


def test_what_is_left_out_is_counted_and_changes_nothing(parts: Parts, tmp_path: Path, tiny_model: Path) -> None:
    config = f"  - dpo: {{data: mine.pairs, {SMALL}, max_tokens_per_example: 9999}}\n"  # more than the model takes
    before = run_steps(tmp_path / "before", tiny_model, config) / "steps/dpo"
    parts["pairs"] += [
        compared("same", GOOD[0], GOOD[0]),
        compared("tie", GOOD[0], BAD[0], grades=(0.8, 0.8)),
        compared("control", f"{GOOD[0]}<|im_end|>", BAD[0]),
        compared("long", GOOD[0], "The plot is dull. " * 60),
    ]
    after = run_steps(tmp_path / "after", tiny_model, config) / "steps/dpo"
    counts = {name: n for name, n in summary_of(after).items() if name.startswith("num_") and n}
    assert counts == {
        "num_comparisons": 9,
        "num_pairs": 11,
        "num_identical_pairs": 1,
        "num_without_pairs": 1,
        "num_with_control_tokens": 1,
        "num_too_long": 1,
        "num_optimizer_steps": 6,
    }
    assert rows_of(after) == rows_of(before)


def test_nothing_to_learn_from(parts: Parts, tmp_path: Path, tiny_model: Path) -> None:
    parts["pairs"][:] = [compared(f"{i}", GOOD[0], GOOD[0]) for i in range(3)]
    with pytest.raises(
        UserError, match=r"few\.yaml:4:dpo\.data: of 3 comparisons none can be learned from: 3 identical pairs\n"
    ):
        run_steps(tmp_path, tiny_model, DPO)


def test_a_single_response_is_no_comparison(parts: Parts, tmp_path: Path, tiny_model: Path) -> None:
    parts["pairs"] += [compared("alone", GOOD[0])]
    with pytest.raises(
        UserError, match=r"1 of 10 comparisons cannot be used:\n.*pairs\.jsonl:10:responses: at least two"
    ):
        run_steps(tmp_path, tiny_model, DPO)


def test_a_reference_of_another_tokenizer_is_refused(parts: Parts, tmp_path: Path, tiny_model: Path) -> None:
    run_steps(tmp_path, tiny_model, DPO)
    steps = DPO + f"  - dpo: {{name: then, data: mine.pairs, reference: model, {SMALL}}}\n"
    with (
        patch.object(direct, "load_tokenizer", side_effect=lambda path: _Vocabulary({str(path): 1})),
        pytest.raises(UserError, match=r"then\.reference: the reference has other tokens than the policy"),
    ):
        run_steps(tmp_path, tiny_model, steps)


class _Vocabulary:
    def __init__(self, vocabulary: dict[str, int]) -> None:
        self.get_vocab = lambda: vocabulary


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("gamma: 1.0", r"few\.yaml:4:dpo\.gamma: the loss dpo has no gamma: it has beta\n  Remove gamma, or use the"),
        ("loss: simpo, reference: model", r"4:dpo\.reference: the loss simpo has no reference\n  Remove this key"),
        ("loss: ipo, label_smoothing: 0.1", r"4:dpo\.label_smoothing: the loss ipo has no label_smoothing"),
        ("loss: cdpo, label_smoothing: 0.6", r"4:dpo\.label_smoothing: label_smoothing is below 0\.5"),
        ("loss: orpo, nll_coef: 1", r"4:dpo\.nll_coef: orpo has the likelihood of the chosen response in it"),
        ("loss: sppo", r"4:dpo\.loss: it should be 'dpo', 'cdpo'"),
        ("beta: 0", r"4:dpo\.beta: it should be greater than 0"),
        ("early_stopping: 2", r"4:dpo\.early_stopping: early_stopping needs something to measure\n  Name the part"),
        ("validate_every: 2", r"4:dpo\.validate_every: validate_every needs something to measure"),
        ("validation: mine.pairs", r"4:dpo\.validation: mine\.pairs is trained on, so it cannot be the validation"),
        ("validation: []", r"4:dpo\.validation: an empty list names no data\n  Name a part"),
        ("keep: best", r"4:dpo\.keep: keep needs something to measure"),
        ("lora: {dropout: 0.1}", r"lora\.dropout must be 0 here"),
        ("reference: mine", r"4:dpo\.reference: 'mine' is a data set, and a policy is wanted here"),
    ],
)
def test_what_does_not_go_together_is_refused_in_the_plan(parts: Parts, config: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan_of(f"  - dpo: {{data: mine.pairs, {config}}}\n")


@pytest.mark.parametrize("kind", ["dpo", "kto"])
def test_responses_that_nobody_judged_are_refused_in_the_plan(parts: Parts, kind: str) -> None:
    sample = "  - sample: {prompts: mine.pairs}\n"
    with pytest.raises(UserError, match=rf"5:{kind}\.data: nobody has judged the responses of 'sample', so there is"):
        plan_of(f"{sample}  - {kind}: {{data: sample}}\n")
    plan_of(
        f"{sample}  - reward: {{data: mine.pairs}}\n  - collect: {{comparisons: sample, reward: reward}}\n"
        f"  - {kind}: {{data: collect}}\n"
    )


def test_orpo_at_the_learning_rate_of_the_others_is_warned_of(parts: Parts) -> None:
    (caution,) = plan_of("  - dpo: {data: mine.pairs, loss: orpo}\n").cautions
    assert caution == (
        "few.yaml:4:dpo.loss: the learning rate is 1e-06, as for losses that follow a fine-tuning: orpo is one. "
        "Set learning_rate: 8.0e-6, as its paper does."
    )
    assert plan_of("  - dpo: {data: mine.pairs, loss: orpo, learning_rate: 8.0e-6}\n").cautions == ()
    (other,) = plan_of("  - dpo: {data: mine.pairs, loss: orpo, lora: {rank: 4}}\n").cautions
    assert "adapters hardly move" in other  # once is enough


def test_adapters_at_the_learning_rate_of_all_weights_are_warned_of(parts: Parts) -> None:
    (caution,) = plan_of("  - dpo: {data: mine.pairs, lora: {rank: 4}}\n").cautions
    assert caution == (
        "few.yaml:4:dpo.lora: the learning rate is 1e-06, as for all weights: adapters hardly move with it. "
        "Set learning_rate: 1e-5."
    )
    assert plan_of("  - dpo: {data: mine.pairs, lora: {rank: 4}, learning_rate: 1.0e-5}\n").cautions == ()
