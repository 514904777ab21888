from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import accord
from tests.fixtures.made_up_data import made_up, make_prompts

__all__ = ["made_up"]


def quiet(line: str) -> None:
    pass


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made_up: str) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def recipe(model: Path, *steps: dict[str, Any]) -> dict[str, Any]:
    return {"model": model, "data": {"mine": "builtin:made-up"}, "steps": list(steps)}


SFT = {"sft": {"data": "mine.demos", "batch_size": 4, "learning_rate": 1e-5}}
SAMPLE = {"sample": {"prompts": "mine.prompts", "temperatures": (0.7, 1.0), "max_response_tokens": 6}}


def test_a_dictionary_runs_as_a_file_does(tiny_model: Path):
    lines: list[str] = []
    run = accord.run_recipe(recipe(tiny_model, SFT, SAMPLE), name="mine", say=lines.append, until="sft")
    assert run.folder == Path("accord-store/runs/mine")
    assert list(run.steps) == ["model", "mine", "sft"]
    step = run.step("sft")
    assert (step.kind, step.cached, step.config["learning_rate"]) == ("sft", False, 1e-5)
    assert [row["iteration"] for row in step.metrics()] == [1, 2]
    assert step.summary()["num_demonstrations"] == 8
    assert (run.steps["model"].metrics(), run.steps["model"].summary()) == ([], {})
    assert step.seconds >= 0
    assert run.step("mine").records("prompts") == make_prompts()
    assert run.step("mine").records("demos")[0].response.text == " is warm and moves along."
    assert run.results["seconds"]["sft"] == step.seconds
    cost = run.cost()
    assert cost["steps"]["sft"]["run_now"]
    assert cost["steps"]["sft"]["how"] == "estimate"
    assert cost["total"]["kwh"] == pytest.approx(sum(one["kwh"] for one in cost["steps"].values()))
    assert cost["total"]["processor_seconds"] > 0
    assert json.loads((run.folder / "cost.json").read_text()) == cost
    assert "What it cost" in run.report.read_text()
    assert run.report.is_file()
    assert "sft: running" in lines
    again = accord.run_recipe(recipe(tiny_model, SFT, SAMPLE), name="mine", say=quiet)
    assert [step.cached for step in again.steps.values()] == [True, True, True, False]
    then = again.cost()["steps"]["sft"]
    assert (then.pop("run_now"), cost["steps"]["sft"].pop("run_now")) == (False, True)
    assert then == cost["steps"]["sft"], "it costs what it has cost once"
    assert accord.load_run("mine").steps.keys() == again.steps.keys()
    assert accord.load_run(run.folder).name == "mine"


def test_a_file_and_its_overrides(tiny_model: Path):
    Path("few.yaml").write_text(
        f"model: {tiny_model}\ndata: {{mine: builtin:made-up}}\nsteps:\n  - sft: {{data: mine.demos}}\n"
    )
    for overrides in ({"sft.learning_rate": 1e-4, "seed": 3}, ["sft.learning_rate=1e-4", "seed=3"]):
        rows = accord.check_recipe("few.yaml", overrides=overrides)
        assert [(row.name, row.kind, row.cached) for row in rows] == [
            ("model", "model", False),
            ("mine", "data", False),
            ("sft", "sft", False),
        ]
        assert rows[-1].config["learning_rate"] == 1e-4
    assert (
        rows[-1].key
        == accord.check_recipe(Path("few.yaml"), overrides={"sft.learning_rate": 0.0001, "seed": 3})[-1].key
    )
    with pytest.raises(accord.UserError, match="overrides are a list or a dictionary"):
        accord.check_recipe("few.yaml", overrides="seed=3")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sft": {"data": "mine.demos", "learning_rat": 1}}, "recipe:sft.learning_rat: unknown key 'learning_rat'"),
        ({"sft": {"data": "mine.demso"}}, "recipe:sft.data: 'mine' has no part 'demso'"),
        ({"sft": {"data": "mine.demos", "batch_size": object()}}, "a recipe cannot hold this: "),
        ({"sfd": {}}, "recipe:sfd: there is no step of kind 'sfd'\n  Did you mean 'sft'?"),
    ],
)
def test_errors_of_a_dictionary_name_the_key(tiny_model: Path, change: dict[str, Any], message: str):
    with pytest.raises(accord.UserError) as caught:
        accord.check_recipe(recipe(tiny_model, change))
    assert str(caught.value).startswith(message)


def test_overrides_of_a_dictionary_name_themselves(tiny_model: Path):
    with pytest.raises(accord.UserError, match=r"^--set sft\.batch_size: "):
        accord.check_recipe(recipe(tiny_model, SFT), overrides={"sft.batch_size": [1, 2]})


def test_values_that_yaml_might_misread_stay_what_they_are(tiny_model: Path):
    steps = [{"reward_function": {"name": "no", "file": "f.py", "function": "on"}}]
    Path("f.py").write_text("def on(responses):\n    return [0.0] * len(responses)\n")
    row = accord.check_recipe(recipe(tiny_model, *steps), overrides={"no.gain": 1e-7})[-1]
    assert (row.name, row.config["function"], row.config["gain"]) == ("no", "on", 1e-7)


def test_one_step_by_itself(tiny_model: Path):
    step = accord.run_step("sft", SFT["sft"], model=tiny_model, data={"mine": "builtin:made-up"}, say=quiet)
    assert step.kind == "sft"
    assert (step.folder / "model/config.json").is_file()
    again = accord.run_step(
        "sample", SAMPLE["sample"], model=step.folder / "model", data={"mine": "builtin:made-up"}, say=quiet
    )
    assert again.summary()["num_comparisons"] + again.summary()["num_equal"] == 8
    assert [judgements for _, judgements in again.records()] == [()] * again.summary()["num_comparisons"]
    with pytest.raises(accord.UserError, match="there is no part 'tarin'\n  Did you mean 'train'"):
        again.records("tarin")
    with pytest.raises(accord.UserError, match="the step 'sft' makes no data, but policy"):
        step.records()
    with pytest.raises(accord.UserError, match="the step 'sample' makes no policy, but data"):
        again.policy()


def test_policies_and_rewards_of_a_run(tiny_model: Path):
    Path("f.py").write_text("def length(responses):\n    return [len(text) for text in responses]\n")
    steps = [
        {"reward_function": {"name": "length", "file": "f.py", "function": "length"}},
        {"reward_function": {"name": "other", "file": "f.py", "function": "length", "gain": 2}},
        {"reject": {"prompts": "mine.prompts", "reward": "length", "num_samples": 2, "max_response_tokens": 4}},
    ]
    run = accord.run_recipe(recipe(tiny_model, *steps), say=quiet)
    assert run.policy().folder == run.step("reject").folder / "model"
    assert run.policy("model").folder == run.step("model").folder / "model"
    assert run.reward().score(["x"], [["abc"]]) == [[3.0]]
    assert run.reward("other").score(["x"], [["abc"]]) == [[6.0]]
    assert run.reward("other").score(["x"], [["abc"]], normalised=False) == [[3.0]]
    with pytest.raises(accord.UserError, match="has no finished step 'rejct'\n  Did you mean 'reject'"):
        run.policy("rejct")
    with pytest.raises(accord.UserError, match="the step 'length' makes no policy, but reward"):
        run.policy("length")
    assert accord.load_reward("run").score(["x"], [["abc"]]) == [[3.0]]
    assert accord.load_reward("run:other").score(["x"], [["abc"]]) == [[6.0]]
    assert accord.load_policy("run").folder.resolve() == run.policy().folder.resolve()
    assert accord.load_policy("run:model").folder.resolve() == run.policy("model").folder.resolve()
    assert accord.load_policy(run.folder).folder.resolve() == run.policy().folder.resolve()


def test_a_run_without_what_is_asked_for(tiny_model: Path):
    run = accord.run_recipe(recipe(tiny_model, SAMPLE), name="bare", say=quiet)
    assert run.policy().folder == run.step("model").folder / "model"
    with pytest.raises(accord.UserError, match="the run 'bare' made no reward"):
        run.reward()
    with pytest.raises(accord.UserError, match="there is no run 'bar'\n  Did you mean 'bare'"):
        accord.load_run("bar")
    with pytest.raises(accord.UserError, match="Run a recipe first"):
        accord.load_run("bar", store="none")


BOMB = "import pathlib\ndef f(responses):\n    return [3.0] * len(responses)\npathlib.Path('ran').touch()\n"


def test_code_of_another_store_is_run_only_when_that_store_is_named(tiny_model: Path):
    """A run that was downloaded looks like one's own to the last byte."""
    Path("f.py").write_text(BOMB)
    step = {"reward_function": {"name": "rule", "file": "f.py", "function": "f"}}
    run = accord.run_recipe(recipe(tiny_model, step), store="theirs", name="first", say=quiet)
    assert run.reward().score(["x"], [["a"]]) == [[3.0]]
    Path("ran").unlink()
    link, folder = run.folder / "steps/rule", run.step("rule").folder
    for source in (folder, link, run.folder, f"{run.folder}:rule"):
        with pytest.raises(accord.UserError, match=r"no code of a folder is run\n.*FILE\.py:FUNCTION.*--store"):
            accord.load_reward(source)
    with pytest.raises(accord.UserError, match="no code of a folder is run"):
        accord.load_run(run.folder).reward()
    assert not Path("ran").exists()
    for source in (folder, link, "first", "first:rule"):
        assert accord.load_reward(source, store="theirs").score(["x"], [["a"]]) == [[3.0]]
    assert accord.load_run(run.folder, store="theirs").reward().score(["x"], [["a"]]) == [[3.0]]


def test_a_plan_that_names_a_folder_outside_the_store_runs_no_code(tiny_model: Path):
    Path("f.py").write_text(BOMB)
    step = {"reward_function": {"name": "rule", "file": "f.py", "function": "f"}}
    theirs = accord.run_recipe(recipe(tiny_model, step), store="theirs", say=quiet)
    mine = Path("accord-store/runs/mine")
    mine.mkdir(parents=True)
    plan = json.loads((theirs.folder / "plan.json").read_text())
    for row in plan["steps"]:
        row["artifact"] = f"../theirs/{row['artifact']}"
    (mine / "plan.json").write_text(json.dumps(plan))
    Path("ran").unlink()
    with pytest.raises(accord.UserError, match="no code of a folder is run"):
        accord.load_reward("mine")
    assert not Path("ran").exists()
