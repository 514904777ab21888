"""Benchmarks as they are called and typed; what is measured has tests of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import accord
from accord.api.benchmarks import JudgeOptions, evaluate_benchmark
from accord.cli import app
from accord.errors import UserError
from tests.fixtures.http_server import Answer, serving
from tests.fixtures.made_up_data import made_up
from tests.fixtures.tiny_model import make_model

__all__ = ["made_up"]

QUESTIONS = [
    {"question_id": 1, "category": "math", "turns": ["How much is one and one?", "And one more?"]},
    {"question_id": 2, "category": "writing", "turns": ["Write a line about a lighthouse.", "A shorter one."]},
]
TRUTHFUL = "question,answer,Correct Answers,Incorrect Answers\nIs it so?,Yes.,Yes.,No.\nWhy?,Because.,Because.,Never.\n"


@pytest.fixture(scope="module")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "other", seed=1)


@pytest.fixture
def dialogues(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
    return path


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["eval", "benchmark", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_two_policies_and_a_judge_behind_an_endpoint(
    dialogues: Path, tiny_model: Path, other_model: Path, tmp_path: Path
) -> None:
    numbers = iter([8, 7, 6, 5, 9, 9, 9, 0])

    def answer(body: Any, before: int) -> Answer:
        assert body["model"] == "wise"
        return 200, {"choices": [{"message": {"role": "assistant", "content": str(next(numbers))}}]}, {}

    store = tmp_path / "store"
    with serving(answer) as asked:
        judge = JudgeOptions(endpoint=asked.url, model="wise")
        found = evaluate_benchmark(
            [str(tiny_model), str(other_model)],
            dialogues,
            suite="mt-bench",
            judge=judge,
            max_response_tokens=5,
            out=tmp_path / "said",
            store=store,
        )
        num = len(asked.bodies)
        again = run(
            *(str(tiny_model), str(other_model), "--data", str(dialogues), "--suite", "mt-bench"),
            *("--endpoint", asked.url, "--model", "wise", "--max-response-tokens", "5", "--store", str(store)),
        )
        assert (num, len(asked.bodies)) == (8, 8)  # what was answered is not asked again
    first, second = found["policies"]
    assert found["about"][first] == {"judge": "wise:points-1", "unreadable": 0, "empty": 0}
    assert found["about"][second] == {"judge": "wise:points-1", "unreadable": 1, "empty": 1}
    (whole, *_) = found["rows"]
    assert whole["policies"][first]["value"] == 6.5
    assert (whole["policies"][second]["value"], whole["policies"][second]["n"]) == (9.0, 3)
    assert whole["policies"][second]["difference"]["n"] == 3
    assert again[0] == 0
    assert "points by wise:points-1" in again[1]
    assert "mt-bench, turn 2, 2 items" in again[1]
    rows = [
        json.loads(line) for path in sorted((tmp_path / "said").iterdir()) for line in path.read_text().splitlines()
    ]
    assert len(rows) == 4
    assert {row["category"] for row in rows} == {"math", "writing"}
    assert all(len(row["answers"]) == len(row["points"]) == 2 for row in rows)


def test_a_policy_of_ones_own_as_the_judge(dialogues: Path, tiny_model: Path, tmp_path: Path) -> None:
    """A random model writes no number."""
    command = [str(tiny_model), "--data", str(dialogues), "--suite", "mt-bench", "--judge", str(tiny_model)]
    status, out, _ = run(*command, "--max-response-tokens", "5", "--limit", "1", "--json", "--store", str(tmp_path))
    assert status == 0
    found = json.loads(out)
    assert found["about"][str(tiny_model)]["unreadable"] == 2
    assert found["rows"] == []


def test_a_table_of_several_policies(tiny_model: Path, other_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "truthful.csv"
    path.write_text(TRUTHFUL)
    status, out, _ = run(str(tiny_model), str(other_model), "--data", str(path), "--markdown")
    assert status == 0
    lines = out.splitlines()
    assert lines[0].startswith("| task | metric | items | policy |")
    assert [line.split(" | ")[1:4] for line in lines[2:4]] == [
        ["mc1", "2", str(tiny_model)],
        ["mc1", "2", str(other_model)],
    ]
    assert "points (" in lines[3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "what is measured is either a suite's file or tasks"),
        (["--data", "x.csv", "--tasks", "arc_easy"], "what is measured is either a suite's file or tasks"),
        (["--data", "{file}", "--suite", "mt-bench"], "this suite needs a judge"),
        (["--data", "{file}", "--suite", "mt-bench", "--endpoint", "http://x/v1"], "this suite needs a judge"),
        (["--data", "{file}", "--suite", "mt-bench", "--endpoint", "x", "--model", "m"], "--endpoint: "),
        (["--data", "{file}", "--suite", "mt-bench", "--judge-prompt", "pairwise-1"], "this prompt compares responses"),
        (["--data", "builtin:film-reviews"], "no benchmark is among them"),
    ],
)
def test_what_is_wrong_is_said(dialogues: Path, tiny_model: Path, arguments: list[str], message: str) -> None:
    status, _, err = run(str(tiny_model), *(one.format(file=dialogues) for one in arguments))
    assert status == 2
    assert message in err


def test_the_rounds_of_a_run(tiny_model: Path, made_up: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sft = {"data": "mine.demos", "batch_size": 4, "learning_rate": 1e-2}
    recipe = {"model": tiny_model, "data": {"mine": "builtin:made-up"}, "steps": [{"sft": sft}]}
    accord.run_recipe(recipe, name="mine", say=lambda line: None)
    Path("truthful.csv").write_text(TRUTHFUL)
    found = evaluate_benchmark(["mine:start", "mine:sft"], "truthful.csv")
    mc2 = found["rows"][1]
    assert (
        mc2["policies"]["mine:start"]
        == evaluate_benchmark([str(tiny_model)], "truthful.csv")["rows"][1]["policies"][str(tiny_model)]
    )
    gain = mc2["policies"]["mine:sft"]["difference"]["value"]
    assert gain == pytest.approx(mc2["policies"]["mine:sft"]["value"] - mc2["policies"]["mine:start"]["value"])
    assert gain != 0


def test_a_policy_is_named_once(tiny_model: Path) -> None:
    with pytest.raises(UserError, match="each once"):
        evaluate_benchmark([str(tiny_model)] * 2, "x.csv")
    with pytest.raises(UserError, match=r"suite: 'mtbench' is not known\n.*mt-bench"):
        evaluate_benchmark([str(tiny_model)], "x.csv", suite="mtbench")


def test_without_the_extra_its_name_is_said(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "accord.evaluate.harness", raising=False)
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    status, _, err = run(str(tiny_model), "--tasks", "arc_easy")
    assert status == 2
    assert "pip install 'accord[bench]'" in err
