from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from accord.errors import Interrupted, UserError
from accord.estimate.check import check
from accord.plan import Plan, make_plan
from accord.recipe import parse_recipe
from accord.results import write_report
from accord.steps import conversing
from accord.steps.registry import STEPS
from accord.store.artifacts import Store
from accord.store.workspace import Workspace
from tests.collect.test_judge import said
from tests.fixtures.http_server import Answer, serving
from tests.fixtures.made_up_data import made_up
from tests.fixtures.recipes import run_steps

__all__ = ["made_up"]

SFT = "  - sft: {data: mine.demos, num_epochs: 1, batch_size: 4, learning_rate: 1.0e-2}\n"
KEYS = (
    "prompts: mine.prompts, policies: [start, sft], constraints: own.yaml, turns: [1, 2], num_dialogues: 6,"
    " max_response_tokens: 6"
)
STEP = f"  - consistency: {{{KEYS}}}\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made_up: str) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text(
        '- {kind: style, text: "Write small.", check: {case: lower}}\n'
        '- {kind: hobby, text: "Like tea.", check: {includes: tea}}\n'
    )
    Path("unchecked.yaml").write_text('- {kind: mood, text: "Be glad."}\n')
    return tmp_path


def planned(keys: str, before: str = SFT) -> Plan:
    text = "model: smollm2-135m-instruct\ndata: {mine: builtin:made-up}\nsteps:\n" + before
    return make_plan(
        parse_recipe(text + f"  - consistency: {{prompts: mine.prompts, {keys}}}\n", Path("r.yaml")), STEPS
    )


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def answers(run: Path, policy: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / f"steps/consistency/answers/{policy}.jsonl").read_text().splitlines()]


def test_what_is_kept_by_rules_turn_by_turn(folder: Path, tiny_model: Path) -> None:
    run = run_steps(folder, tiny_model, SFT + STEP, finish=lambda at, _: write_report(at, Store(folder / "store")))
    step = run / "steps/consistency"
    found, summary = read(step / "results.json"), read(step / "summary.json")
    assert (found["by"], found["num_dialogues"], found["turns"]) == ("rules-1", 6, [1, 2])
    for policy in ("start", "sft"):
        rows = answers(run, policy)
        assert [len(row["answers"]) for row in rows] == [2] * 6
        for row in rows:
            for turn, text in enumerate(row["answers"], start=1):
                small = any(one.isalpha() for one in text) and text == text.lower()
                holds = {"style": small, "hobby": "tea" in text.lower().split()}
                if text.strip():
                    assert row["kept"][str(turn)] == all(holds[kind] for kind in row["kinds"])
                else:
                    assert row["kept"][str(turn)] is False
        share = found["policies"][policy]["turns"]["2"]
        assert share["value"] == pytest.approx(sum(row["kept"]["2"] for row in rows) / 6)
        assert summary["policies"][policy] == {
            f"turn_{turn}": found["policies"][policy]["turns"][str(turn)]["value"] for turn in (1, 2)
        }
    asked = [{key: row[key] for key in ("id", "instruction", "turns")} for row in answers(run, "start")]
    assert asked == [{key: row[key] for key in ("id", "instruction", "turns")} for row in answers(run, "sft")]
    with (step / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["policy"], row["turn"]) for row in rows] == [
        ("start", "1"),
        ("start", "2"),
        ("sft", "1"),
        ("sft", "2"),
    ]
    assert (rows[0]["p_value"], float(rows[3]["p_value"]) <= 1) == ("", True)
    assert "Held to an instruction: consistency" in (run / "report.html").read_text()


def test_the_instruction_stands_in_the_first_turn_alone(folder: Path, tiny_model: Path) -> None:
    bodies: list[str] = []

    def tea_is_kept(body: Any, before: int) -> Answer:
        bodies.append(body["messages"][-1]["content"])
        return 200, said("yes" if "<instruction>\nLike tea.\n</instruction>" in bodies[-1] else "no"), {}

    with serving(tea_is_kept) as asked:
        judge = f"by: judge, endpoint: {asked.url.removesuffix('/score')}, model: wise, num_constraints: [1, 1]"
        run = run_steps(folder, tiny_model, SFT + STEP.replace("num_dialogues: 6", f"num_dialogues: 8, {judge}"))
    for body in bodies:
        conversation = body.partition("<conversation>\n")[2].partition("\n</conversation>")[0]
        told = body.partition("<instruction>\n")[2].partition("\n</instruction>")[0]
        assert conversation.startswith(f"User: {told}\n\nWrite line")
        assert conversation.count(told) == 1
    assert any("Assistant: " in body.partition("</conversation>")[0] for body in bodies)
    found = read(run / "steps/consistency/results.json")
    assert found["by"] == "judge:wise:kept-1"
    for policy in ("start", "sft"):
        for row in answers(run, policy):
            for turn, text in enumerate(row["answers"], start=1):
                assert row["kept"][str(turn)] == (row["instruction"] == "Like tea." and bool(text.strip()))
    assert found["agrees_with_rules"]["num"] == 32


def test_a_dialogue_without_room_ends_and_is_unknown_from_there(folder: Path, tiny_model: Path) -> None:
    steps = SFT + STEP.replace("[1, 2]", "[1, 4]").replace("tokens: 6", "tokens: 60")
    run = run_steps(folder, tiny_model, steps)
    found, summary = (read(run / f"steps/consistency/{name}.json") for name in ("results", "summary"))
    shares = found["policies"]["start"]["turns"]
    assert (shares["1"]["num_unknown"], shares["4"]["num_unknown"] > 0) == (0, True)
    assert summary["num_ended_early"] > 0
    assert [row["kept"]["4"] is None for row in answers(run, "start")] == [
        len(row["answers"]) < 4 for row in answers(run, "start")
    ]


def test_stopped_and_run_again_it_goes_on_to_the_same_files(
    folder: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversing, "CHUNK", 4)
    whole = run_steps(folder / "a", tiny_model, SFT + STEP, "consistency.temperature=1")
    real, seen = Workspace.checkpoint_or_stop, []

    def stop(self: Workspace, iteration: int, make: object) -> None:
        if "consistency-" in str(self.folder) and iteration in (1, 6) and iteration not in seen:
            seen.append(iteration)
            self._stop = lambda: True
        real(self, iteration, make)  # type: ignore[arg-type]

    monkeypatch.setattr(Workspace, "checkpoint_or_stop", stop)
    for _ in range(2):
        with pytest.raises(Interrupted):
            run_steps(folder / "b", tiny_model, SFT + STEP, "consistency.temperature=1")
    again = run_steps(folder / "b", tiny_model, SFT + STEP, "consistency.temperature=1")
    assert seen == [1, 6]
    for name in ("results.json", "results.csv", "summary.json", "answers/start.jsonl", "answers/sft.jsonl"):
        assert (again / "steps/consistency" / name).read_bytes() == (whole / "steps/consistency" / name).read_bytes()


@pytest.mark.parametrize(
    ("keys", "where", "says"),
    [
        ("constraints: unchecked.yaml", "r.yaml:5:consistency.constraints", "has no check: 'Be glad.'"),
        ("turns: [4, 2]", "r.yaml:5:consistency.turns", "ascend"),
        ("turns: [0, 2]", "r.yaml:5:consistency.turns", "counted from 1"),
        ("turns: []", "r.yaml:5:consistency.turns", "at least 1"),
        ("policies: [sft, sft]", "r.yaml:5:consistency", "a policy is named twice"),
        ("by: judge", "r.yaml:5:consistency.by", "nobody is named who judges"),
        ("judge: sft", "r.yaml:5:consistency.judge", "`by: rules` decides"),
        ("constraints: nothing.yaml", "r.yaml:5:consistency", "nothing.yaml"),
    ],
)
def test_what_cannot_be_is_said_before_anything_runs(keys: str, where: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        planned(keys)
    assert caught.value.where.startswith(where)
    assert says in str(caught.value)


def test_what_may_be_run_and_is_hardly_meant() -> None:
    ghost = "  - ghost_attention: {prompts: mine.prompts, constraints: own.yaml}\n  - sft: {data: ghost_attention}\n"
    cautions = "\n".join(planned("policies: [start, latest], constraints: own.yaml, turns: [1]", ghost).cautions)
    assert (
        "r.yaml:6:consistency.constraints: policies were trained to hold to the same constraints: latest to 2 of 2."
        in cautions
    )
    assert "r.yaml:6:consistency.turns: the first turn has the instruction in it" in cautions
    assert "r.yaml:6:consistency.prompts: mine.prompts was trained on: latest." in cautions
    assert "constraints:" not in "\n".join(planned("policies: [latest]", ghost).cautions)
    assert "start judges its own responses" in "\n".join(planned("policies: [start], by: judge, judge: start").cautions)


def test_the_estimate(folder: Path, tiny_model: Path) -> None:
    text = f"model: {json.dumps(str(tiny_model))}\ndata: {{mine: builtin:made-up}}\nsteps:\n{SFT}{STEP}"
    row = check(
        make_plan(parse_recipe(text, Path("r.yaml")), STEPS), STEPS, Store(folder / "s"), timed=False
    ).estimate.rows[-1]
    assert row.step.name == "consistency"
    assert row.sampled == 2 * 6 * 2 * (6 - 1), "the first token of each comes from the prompt's pass"
