from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from accord.errors import Interrupted, UserError
from accord.estimate.rows import Estimator
from accord.plan import Plan, make_plan
from accord.recipe import parse_recipe
from accord.results import write_report
from accord.steps.registry import STEPS
from accord.store.artifacts import Store
from accord.store.workspace import Workspace
from accord.sweep.names import logged_by
from tests.fixtures.recipes import run_steps
from tests.fixtures.two_kinds import two_kinds

__all__ = ["two_kinds"]

pytestmark = pytest.mark.usefixtures("two_kinds")

RULES = """\
  - reward_rule: {name: short, rule: length, unit: characters, gain: -1}
  - reward_rule: {name: warm, rule: contains, words: [warm]}
"""
MIXED = """\
  - mix: {name: help, main: mine.helpful, others: mine.safety, share: 0.4, validation: 0.3}
  - mix: {name: safe, main: mine.safety, others: mine.helpful, share: 0.1, validation: 0.3}
"""
TRAIN = "batch_size: 4, learning_rate: 3.0e-3, num_epochs: 2"
REWARDS = f"""\
  - reward: {{name: helpful, data: help, {TRAIN}}}
  - reward: {{name: safety, data: safe, safety_coef: 1, {TRAIN}}}
"""
BOTH = (
    "  - accuracy: {rewards: [helpful, safety], data: [help.validation, safe.validation], floor_data: [help, safe]}\n"
)


def results(run: Path, step: str = "accuracy") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "steps" / step / "results.json").read_text())
    return found


def plan_of(model: Path, steps: str) -> Plan:
    text = f"model: {json.dumps(str(model))}\ndata: {{mine: builtin:made-up}}\nsteps:\n" + steps
    return make_plan(parse_recipe(text, Path("few.yaml")), STEPS)


def test_rules_on_comparisons(tmp_path: Path, tiny_model: Path):
    """The chosen response, "A warm line.", is the shorter one throughout, and by grades 4, 2.5, 1.25 and 0.5."""
    steps = RULES + "  - accuracy: {rewards: [short, warm], data: mine.helpful}\n"
    run = run_steps(tmp_path, tiny_model, steps)
    found = results(run)
    one = found["sets"]["mine.helpful"]
    assert (one["num_pairs"], one["num_prompts"], one["num_left_out"]) == (30, 30, 0)
    assert one["floor"] == {"name": "shortest", "accuracy": 1.0}
    for name in ("short", "warm"):
        cell = found["rewards"][name]["mine.helpful"]
        assert cell["accuracy"] == 1.0
        assert {level: of["n"] for level, of in cell["levels"].items()} == {
            "negligibly better": 7,
            "slightly better": 7,
            "better": 8,
            "significantly better": 8,
        }
        assert (cell["home"], cell["counted"], cell["seen"]) == (False, None, None)
    assert json.loads((run / "steps/accuracy/summary.json").read_text()) == {
        "num_comparisons": 30,
        "num_left_out": 0,
        "accuracy": {"short": {"mine.helpful": 1.0}, "warm": {"mine.helpful": 1.0}},
    }
    step = plan_of(tiny_model, steps).step("accuracy")
    assert logged_by(step) == {"accuracy.short.mine.helpful", "accuracy.warm.mine.helpful"}


def test_two_models_and_the_data_of_each(tmp_path: Path, tiny_model: Path):
    run = run_steps(tmp_path, tiny_model, MIXED + REWARDS + BOTH)
    found = results(run)
    home = {name: [cell["home"] for cell in cells.values()] for name, cells in found["rewards"].items()}
    assert home == {"helpful": [True, False], "safety": [False, True]}
    assert {cell["seen"] for cells in found["rewards"].values() for cell in cells.values()} == {None}
    floors = found["sets"]["help.validation"]["floors"]
    assert floors.keys() == {"longest", "shortest", "words of help.train", "words of safe.train"}
    assert floors["words of help.train"]["accuracy"] == 1.0  # "warm" says it
    assert found["rewards"]["helpful"]["help.validation"]["lead"]["value"] <= 0
    assert found["rewards"]["helpful"]["safe.validation"]["counted"] is False
    with_safety = {
        (name, of) for name, cells in found["rewards"].items() for of, cell in cells.items() if "safety" in cell
    }
    assert with_safety == {
        ("safety", "safe.validation")
    }  # the other is not calibrated, and the other set has no labels
    safety = found["rewards"]["safety"]["safe.validation"]["safety"]
    assert 0 < safety["num_unsafe"] < safety["num_labelled"]
    assert safety["below"].keys() == {"0.15", "0.5"}
    bins = found["rewards"]["safety"]["safe.validation"]["bins"]
    assert sum(one["n"] for one in bins.values()) == found["sets"]["safe.validation"]["num_pairs"]
    write_report(run, Store(tmp_path / "store"))
    page = (run / "report.html").read_text()
    for text in (
        "accuracy: reward models on held-out",
        "on safe.validation",
        "Unsafe responses",
        "at home",
        "the floor",
    ):
        assert text in page


def test_it_stands_beside_an_evaluation_of_policies(tmp_path: Path, tiny_model: Path):
    keys = "policies: [start], by: warm, prompts: mine.prompts, num_prompts: 2, num_samples: 2, max_response_tokens: 4"
    steps = RULES + f"  - evaluate: {{{keys}}}\n"
    run = run_steps(tmp_path, tiny_model, steps + "  - accuracy: {rewards: short, data: mine.helpful}\n")
    write_report(run, Store(tmp_path / "store"))
    assert json.loads((run / "results.json").read_text())["policies"].keys() == {"start"}
    page = (run / "report.html").read_text()
    assert "<h2>Policies</h2>" in page
    assert "on mine.helpful" in page


ROUNDS = """\
  - reward: {name: gold, data: mine.helpful, learning_rate: 3.0e-3, batch_size: 8}
  - repeat:
      rounds: 2
      start: model
      steps:
        - sample: {prompts: mine.prompts, policies: [latest, previous], max_response_tokens: 8}
        - collect: {name: labels, comparisons: sample, reward: gold, noise: 0.1}
        - mix: {name: fresh, main: labels, validation: 0.3}
        - mix: {name: all, main: labels@all, others: mine.helpful, share: 0.4, shortfall: accept, validation: 0.3}
        - reward: {name: proxy, data: all, batch_size: 8, learning_rate: 1.0e-3}
        - reject: {prompts: mine.prompts, reward: proxy, num_prompts: 4, num_samples: 2, max_response_tokens: 8}
        - accuracy: {name: drift, rewards: proxy@all, data: [fresh.validation, labels]}
"""


def test_rounds_hold_out_the_same_prompts_and_measure_drift(tmp_path: Path, tiny_model: Path):
    run = run_steps(tmp_path, tiny_model, ROUNDS)
    first, second = results(run, "drift-1"), results(run, "drift-2")
    assert first["rewards"].keys() == {"proxy-1"}
    assert second["rewards"].keys() == {"proxy-1", "proxy-2"}
    assert second["sets"].keys() == {"fresh-2.validation", "labels-2.train"}
    seen = {name: [cell["seen"] for cell in cells.values()] for name, cells in second["rewards"].items()}
    assert seen == {"proxy-1": [None, None], "proxy-2": [None, "trained on it"]}
    home = {name: [cell["home"] for cell in cells.values()] for name, cells in second["rewards"].items()}
    assert home == {"proxy-1": [False, False], "proxy-2": [True, True]}

    def prompts(step: str, part: str) -> set[str]:
        rows = map(json.loads, (run / "steps" / step / f"{part}.jsonl").read_text().splitlines())
        return {row["prompt"][0]["content"] for row in rows}

    held = prompts("all-2", "validation")
    assert held
    for step in ("all-1", "all-2", "fresh-1", "fresh-2"):
        assert not prompts(step, "train") & held
        assert prompts(step, "validation") <= held
    ids = [json.loads(line)["id"] for line in (run / "steps/all-2/train.jsonl").read_text().splitlines()]
    assert len(set(ids)) == len(ids)


def test_a_round_with_too_few_labels_loses_nothing(tmp_path: Path, tiny_model: Path):
    with pytest.raises(UserError, match=r"labels-1.train has \d+ usable comparisons, and 31 are wanted"):
        run_steps(tmp_path, tiny_model, ROUNDS, "all.min_records=31")
    labels = list((tmp_path / "store/artifacts").glob("collect-*/manifest.json"))
    assert len(labels) == 1
    run_steps(tmp_path, tiny_model, ROUNDS, until="proxy-1")
    assert list((tmp_path / "store/artifacts").glob("collect-*/manifest.json")) == labels  # taken as it is


def test_what_chose_the_weights_is_said(tmp_path: Path, tiny_model: Path):
    steps = MIXED + REWARDS.replace("data: help,", "data: help, validation: help.validation, validate_every: 2,")
    run = run_steps(tmp_path, tiny_model, steps + BOTH)
    cells = results(run)["rewards"]["helpful"]
    assert [cell["seen"] for cell in cells.values()] == ["it chose the weights", None]


def test_a_combined_reward_is_at_home_where_its_parts_are(tmp_path: Path, tiny_model: Path):
    steps = "  - combine: {name: both, rewards: [helpful, warm]}\n"
    steps += "  - accuracy: {rewards: both, data: [help.validation, safe.validation, help]}\n"
    found = results(run_steps(tmp_path, tiny_model, RULES + MIXED + REWARDS + steps))["rewards"]["both"]
    assert [cell["home"] for cell in found.values()] == [True, False, True]
    assert [cell["seen"] for cell in found.values()] == [None, None, "trained on it"]


def test_what_was_scored_before_a_stop_is_not_scored_again(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    steps = RULES + "  - accuracy: {rewards: [short, warm], data: mine.helpful}\n"
    whole = results(run_steps(tmp_path, tiny_model, steps))
    shutil.rmtree(tmp_path / "store")
    stop = Workspace.checkpoint_or_stop
    with monkeypatch.context() as patched:

        def stopped(work: Workspace, iteration: int, make: Any) -> None:
            patched.setattr(Workspace, "stop_requested", lambda _: True)
            stop(work, iteration, make)

        patched.setattr(Workspace, "checkpoint_or_stop", stopped)
        with pytest.raises(Interrupted):
            run_steps(tmp_path, tiny_model, steps)
    from accord.evaluate import scoring

    asked = []
    score_all = scoring.score_all
    monkeypatch.setattr(scoring, "score_all", lambda *given: asked.append(given[0]) or score_all(*given))
    assert results(run_steps(tmp_path, tiny_model, steps)) == whole
    assert len(asked) == 1


def test_what_a_model_cannot_read_is_left_out_for_all(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    from accord.evaluate import scoring

    monkeypatch.setattr(scoring, "readable", lambda *given: (list(range(1, len(given[1]))), {}))
    steps = RULES + "  - accuracy: {rewards: [short, warm], data: mine.helpful}\n"
    found = results(run_steps(tmp_path, tiny_model, steps))
    assert (found["sets"]["mine.helpful"]["num_left_out"], found["sets"]["mine.helpful"]["num_pairs"]) == (1, 29)
    monkeypatch.setattr(scoring, "readable", lambda *given: ([], {}))
    with pytest.raises(UserError, match=r"6:accuracy.data: none of the 30 comparisons of mine.helpful can be read by"):
        run_steps(tmp_path, tiny_model, steps, "accuracy.margin_thresholds=[0,1,2,3]")


def test_comparisons_without_an_order(tmp_path: Path, tiny_model: Path):
    Path(tmp_path / "judge.py").write_text("def equal(responses):\n    return [[1, 1] for _ in responses]\n")
    steps = RULES + "  - sample: {prompts: mine.prompts, max_response_tokens: 4}\n"
    steps += f"  - collect: {{comparisons: sample, file: {tmp_path}/judge.py, function: equal}}\n"
    with pytest.raises(UserError, match=r":8:accuracy.data: no comparison of collect.train has an ordered pair"):
        run_steps(tmp_path, tiny_model, steps + "  - accuracy: {rewards: warm, data: collect}\n")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("rewards: [warm, warm], data: mine.helpful", "accuracy.rewards: warm is named twice"),
        ("rewards: warm, data: [mine.helpful, mine.helpful]", "accuracy.data: mine.helpful is named twice"),
        ("rewards: [], data: mine.helpful", "accuracy.rewards: an empty list names nothing to measure"),
        ("rewards: warm, data: mine.demos", "'mine.demos' holds demonstrations, and comparisons are wanted here"),
        ("rewards: mine, data: mine.helpful", "'mine' is a data set, and a reward is wanted here"),
        ("rewards: warm, data: sample", "accuracy.data: nobody has judged the responses of 'sample'"),
        (
            "rewards: warm, data: mine.helpful, floor_data: help",
            "accuracy.floor_data: the model of words would learn from help.train, in which mine.helpful is",
        ),
        ("rewards: warm, data: mine.helpful, unsafe_below: [1.5]", "these are probabilities, between 0 and 1"),
        ("rewards: warm, data: mine.helpful, margin_thresholds: [3, 2, 1, 0]", "the thresholds ascend"),
    ],
)
def test_every_mistake_has_its_place(tiny_model: Path, keys: str, message: str):
    steps = RULES + MIXED + "  - sample: {prompts: mine.prompts}\n" + f"  - accuracy: {{{keys}}}\n"
    with pytest.raises(UserError) as caught:
        plan_of(tiny_model, steps)
    assert message in str(caught.value)
    assert str(caught.value).startswith("few.yaml:9:accuracy.")


def test_what_all_were_trained_on_is_worth_a_word(tiny_model: Path):
    steps = MIXED + REWARDS
    own = "  - accuracy: {rewards: helpful, data: help}\n"
    (caution,) = plan_of(tiny_model, steps + own).cautions
    assert caution.startswith("few.yaml:8:accuracy.data: every reward was trained on help.train, so nothing there is")
    raw = own.replace("data: help", "data: mine.helpful")
    assert "was trained on mine.helpful" in plan_of(tiny_model, steps + raw).cautions[0]
    assert plan_of(tiny_model, steps + own.replace("helpful,", "[helpful, safety],")).cautions == ()
    assert plan_of(tiny_model, steps + BOTH).cautions == ()  # what was held out is behind none


def test_an_estimate(tmp_path: Path, tiny_model: Path):
    work = Estimator(plan_of(tiny_model, MIXED + REWARDS + BOTH), STEPS, Store(tmp_path)).works["accuracy"]
    assert len(work.loaded) == 2
    assert [round(num) for num in work.fits] == [2 * 35, 2 * 23]
    assert {one.kind for one in work.phases[0].passes} == {"forward"}
