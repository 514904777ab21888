from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from accord.data.records import read_records
from accord.errors import UserError
from accord.estimate.rows import Estimator
from accord.plan import make_plan
from accord.recipe import parse_recipe
from accord.steps.registry import STEPS
from accord.store.artifacts import Store
from tests.fixtures.recipes import run_steps
from tests.fixtures.two_kinds import helpful, two_kinds

__all__ = ["two_kinds"]

pytestmark = pytest.mark.usefixtures("two_kinds")

HELPFUL = "  - mix: {name: helpful-data, main: mine.helpful, others: mine.safety, share: 0.4, validation: 0.3}\n"
SAFETY = "  - mix: {name: safety-data, main: mine.safety, others: mine.helpful, share: 0.1, validation: 0.3}\n"
DEMOS = "  - mix: {kind: demonstrations, main: mine.demos, others: mine.safe_demos, fraction: 0.5}\n"


def summary(run: Path, step: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "steps" / step / "summary.json").read_text())
    return found


def texts(run: Path, step: str, part: str) -> list[str]:
    rows = read_records(run / "steps" / step / f"{part}.jsonl", "comparisons")
    return [comparison.prompt.messages[0].content for comparison, _ in rows]


def plan_of(model: Path, steps: str):
    text = f"model: {json.dumps(str(model))}\ndata: {{mine: builtin:made-up}}\nsteps:\n" + steps
    return make_plan(parse_recipe(text, Path("few.yaml")), STEPS)


def test_two_mixtures_of_comparisons(tmp_path: Path, tiny_model: Path):
    run = run_steps(tmp_path, tiny_model, HELPFUL + SAFETY)
    of_helpful, of_safety = summary(run, "helpful-data"), summary(run, "safety-data")
    train, held = texts(run, "helpful-data", "train"), texts(run, "helpful-data", "validation")
    num_main, num_others = (sum(text.startswith(about) for text in train) for about in ("help", "risk"))
    assert num_main + len(held) == 30  # no made-up prompt is nearly another
    assert num_others == round(0.4 / 0.6 * num_main)
    assert {text.split()[0] for text in held} == {"help"}
    assert 3 <= len(held) <= 16
    assert of_helpful == {
        "parts": {
            "train": {"kind": "comparisons", "num_records": len(train)},
            "validation": {"kind": "comparisons", "num_records": len(held)},
        },
        "taken_from": {
            "mine.helpful": {"num_train": num_main, "num_validation": len(held)},
            "mine.safety": {"num_train": num_others, "num_validation": 0},
        },
        "num_unjudged": 0,
        "num_unsafe_chosen": 7,  # numbers 3, 7, ..., 27 of 30
        "num_near_held_out": 0,
        "num_others_held_out": len(texts(run, "safety-data", "validation")),
        "others_share": num_others / len(train),
    }
    assert of_safety["num_others_held_out"] == len(held)
    assert of_safety["num_unsafe_chosen"] == 7
    # what one holds out, the other does not train on
    assert not {*train, *texts(run, "safety-data", "train")} & {*held, *texts(run, "safety-data", "validation")}
    assert train != sorted(train, key=lambda text: text[:4])  # a drawn order
    ids = [comparison.id for comparison, _ in read_records(run / "steps/helpful-data/train.jsonl", "comparisons")]
    assert len(set(ids)) == len(train)
    assert any("#2" in name for name in ids)  # both sources have a c1


def test_a_smaller_fraction_is_a_part_of_a_larger_one(tmp_path: Path, tiny_model: Path):
    def safe(fraction: str) -> set[str]:
        run = run_steps(tmp_path, tiny_model, DEMOS, f"mix.fraction={fraction}")
        rows = read_records(run / "steps/mix/train.jsonl", "demonstrations")
        return {one.prompt.id for one in rows if one.prompt.id.startswith("risk")}

    some, half, every = safe("0.1"), safe("0.5"), safe("1")
    assert [len(one) for one in (safe("0"), some, half, every)] == [0, 3, 15, 30]
    assert some < half < every


def test_demonstrations_come_with_a_report(tmp_path: Path, tiny_model: Path):
    found = summary(run_steps(tmp_path, tiny_model, DEMOS), "mix")
    assert found["parts"] == {"train": {"kind": "demonstrations", "num_records": 45}}
    assert found["others_share"] == pytest.approx(1 / 3)
    assert {side: one["refusals"] for side, one in found["quality"].items()} == {"main": 0.0, "others": 1.0}
    assert found["quality"]["main"]["num_repeated_responses"] == 29
    assert found["quality"]["others"]["words"]["response"] == {"median": 5, "p95": 5, "max": 5}
    without = summary(run_steps(tmp_path, tiny_model, DEMOS, "mix.fraction=0"), "mix")
    assert without["quality"].keys() == {"main"}


def test_prompts_of_other_records(tmp_path: Path, tiny_model: Path):
    steps = "  - mix: {kind: prompts, main: mine.prompts, others: [mine.helpful, mine.safe_demos], share: 0.5}\n"
    run = run_steps(tmp_path, tiny_model, steps)
    rows = read_records(run / "steps/mix/train.jsonl", "prompts")
    assert len(rows) == 60
    assert {row.messages[0].content.split()[0] for row in rows[:12]} == {"ask", "help", "risk"}
    assert "num_unsafe_chosen" not in summary(run, "mix")


def test_too_few_of_the_others(tmp_path: Path, tiny_model: Path):
    with pytest.raises(UserError) as caught:
        run_steps(tmp_path, tiny_model, HELPFUL.replace("0.4", "0.8"))
    assert str(caught.value).startswith("few.yaml:4:helpful-data.share: a share of 0.8 beside ")
    most = float(caught.value.remedy.split()[2])
    run = run_steps(tmp_path, tiny_model, HELPFUL, f"helpful-data.share={most}")
    assert summary(run, "helpful-data")["others_share"] == pytest.approx(most, abs=0.03)
    run = run_steps(tmp_path, tiny_model, HELPFUL, "helpful-data.share=0.8", "helpful-data.shortfall=accept")
    found = summary(run, "helpful-data")
    assert (
        found["others_share"]
        == found["taken_from"]["mine.safety"]["num_train"] / found["parts"]["train"]["num_records"]
    )
    assert found["taken_from"]["mine.safety"]["num_train"] == 30 - 7 - found["num_others_held_out"]


def test_a_round_with_too_few_labels(tmp_path: Path, tiny_model: Path):
    steps = "  - mix: {main: [mine.helpful, mine.safety], min_records: 24}\n"
    with pytest.raises(UserError) as caught:
        run_steps(tmp_path, tiny_model, steps)
    what = "few.yaml:4:mix.main: mine.safety has 23 usable comparisons, and 24 are wanted"
    assert str(caught.value).startswith(what)
    assert "stays in the store" in caught.value.remedy
    assert summary(run_steps(tmp_path, tiny_model, steps, "mix.min_records=23"), "mix")["num_unsafe_chosen"] == 7
    kept = summary(run_steps(tmp_path, tiny_model, steps, "mix.drop_unsafe_chosen=false"), "mix")
    assert kept["parts"]["train"]["num_records"] == 60


def test_nothing_to_hold_out_or_to_train_on(tmp_path: Path, tiny_model: Path):
    steps = "  - mix: {main: mine.helpful, validation: 0.0001}\n"
    with pytest.raises(UserError, match=r"4:mix.validation: none of the prompts of 30 comparisons is among the 0.0001"):
        run_steps(tmp_path, tiny_model, steps)
    with pytest.raises(UserError, match=r"of 30 comparisons 30 are held out, and 0 have nearly .* none is left"):
        run_steps(tmp_path, tiny_model, steps, "mix.validation=0.9999")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("main: mine.helpful, share: 0.5", "there are no others to take a share of"),
        ("main: mine.helpful, others: mine.safety, share: 0.5, fraction: 1", "share and fraction both say how much"),
        ("main: mine.helpful, others: mine.safety, share: 1", "few.yaml:4:mix.share: it should be less than 1"),
        ("main: mine.helpful, others: mine.helpful", "mine.helpful is named twice, in main and others"),
        ("main: []", "few.yaml:4:mix.main: an empty list names no data"),
        ("main: mine.demos", "mine.demos holds demonstrations, and comparisons are put together here\n  Set kind: dem"),
        ("main: mine.prompts, kind: demonstrations", "mine.prompts holds prompts, and demonstrations are put together"),
        ("main: mine.demos, kind: demonstrations, drop_unsafe_chosen: true", "drop_unsafe_chosen is of comparisons"),
        ("main: mine.helpful, shortfall: accept", "without a share there can be no shortfall"),
        ("main: mine.helpfull", "Did you mean 'mine.helpful'?"),
    ],
)
def test_every_mistake_has_its_place(tiny_model: Path, keys: str, message: str):
    with pytest.raises(UserError) as caught:
        plan_of(tiny_model, f"  - mix: {{{keys}}}\n")
    assert message in str(caught.value)
    assert str(caught.value).startswith("few.yaml:4:mix")


def test_responses_that_nobody_has_judged(tiny_model: Path):
    with pytest.raises(UserError, match=r"few.yaml:5:mix.main: nobody has judged the responses of 'sample'"):
        plan_of(tiny_model, "  - sample: {prompts: mine.prompts}\n  - mix: {main: sample}\n")


def test_a_round_takes_all_that_were_before(tiny_model: Path):
    steps = """\
  - reward: {name: gold, data: mine.helpful}
  - repeat:
      rounds: 3
      steps:
        - sample: {prompts: mine.prompts, policies: [latest, previous]}
        - collect: {name: labels, comparisons: sample, reward: gold}
        - mix: {main: labels@all, others: mine.safety, share: 0.5}
"""
    plan = plan_of(tiny_model, steps)
    assert [link.name for link in plan.step("mix").parents["main"]] == [f"labels-{n}.train" for n in (1, 2, 3)]
    assert [link.name for link in plan.step("mix-1").parents["main"]] == ["labels-1.train"]


def test_an_estimate_knows_how_much_there_will_be(tmp_path: Path, tiny_model: Path):
    plan = plan_of(tiny_model, HELPFUL + "  - reward: {data: helpful-data, validation: helpful-data.validation}\n")
    made = Estimator(plan, STEPS, Store(tmp_path)).works["helpful-data"].makes
    assert {part: one.total for part, one in made.items()} == {"train": 21 + 14, "validation": 9}
    about = [one.prompt.messages[0].content.split()[0] for one, _ in made["train"].sample]
    assert (about.count("help"), about.count("risk")) == (30, 20)
    assert len(made["validation"].sample) == len(helpful())
