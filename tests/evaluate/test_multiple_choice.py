from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from accord.api.models import load_policy
from accord.cli import app
from accord.errors import UserError
from accord.evaluate.benchmarks import CHANCE
from accord.evaluate.multiple_choice import Choices, Scores, measured, read_truthfulqa, scores_of

HEADER = "question,answer,Correct Answers,Incorrect Answers,Category\n"
ROWS = 'Is it so?,Yes.,"Yes.; It is.","No.; Never, ever.",made up\nWhy?,Because.,Because.,Nobody knows.,made up\n'
QUESTIONS = [
    Choices("Is it so?", ("Yes.", "It is."), ("No.", "Never, ever."), "made up"),
    Choices("Why?", ("Because.",), ("Nobody knows.",), "made up"),
]


def test_both_scores_by_hand() -> None:
    shares = [[0.3, 0.1, 0.2, 0.4], [0.6, 0.2]]  # the best true answer is less probable than a false one; more
    scores = scores_of(QUESTIONS, [[math.log(share) for share in row] for row in shares])
    assert scores.mc1.tolist() == [0.0, 1.0]
    assert scores.mc2.tolist() == pytest.approx([0.4, 0.75])


def test_floors_by_hand() -> None:
    mc1, mc2 = measured(QUESTIONS, Scores(np.array([0.0, 1.0]), np.array([0.4, 0.75])))
    assert mc1.floors == {CHANCE: pytest.approx((1 / 3 + 1 / 2) / 2), "always the shortest answer": 0.5}
    assert mc2.floors == {CHANCE: pytest.approx((2 / 4 + 1 / 2) / 2)}
    assert (mc1.values, mc2.values) == ([0.0, 1.0], [0.4, 0.75])


def test_a_file_is_read_and_what_is_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "questions.csv"
    path.write_text(HEADER + ROWS)
    assert read_truthfulqa(str(path)) == QUESTIONS
    path.write_text(HEADER + "Why?,Because.,Because.,,made up\n")
    with pytest.raises(UserError, match=r"questions.csv:2:Incorrect Answers: Incorrect Answers is missing or empty"):
        read_truthfulqa(str(path))


def test_the_command_picks_by_log_probability(tmp_path: Path, tiny_model: Path) -> None:
    path = tmp_path / "questions.csv"
    path.write_text(HEADER + ROWS)
    command = ["eval", "benchmark", str(tiny_model), "--data", str(path), "--json"]
    found = json.loads(CliRunner().invoke(app, command, catch_exceptions=False).stdout)
    logprobs = load_policy(tiny_model).logprobs([one.question for one in QUESTIONS], [one.answers for one in QUESTIONS])
    assert (found["benchmark"], found["policies"]) == ("truthfulqa", [str(tiny_model)])
    values = {row["metric"]: row["policies"][str(tiny_model)]["value"] for row in found["rows"]}
    assert values["mc2"] == pytest.approx(scores_of(QUESTIONS, logprobs).mc2.mean(), abs=1e-3)
    missing = CliRunner().invoke(app, [*command[:4], str(tmp_path / "none.csv")])
    assert missing.exit_code == 2
    assert "there is no data set" in missing.output


def test_the_real_file_is_read() -> None:
    folder = os.environ.get("ACCORD_DATA")
    if not folder or not (Path(folder) / "benchmarks/TruthfulQA.csv.gz").is_file():
        pytest.skip("ACCORD_DATA names no folder with benchmarks/TruthfulQA.csv.gz")
    questions = read_truthfulqa(str(Path(folder) / "benchmarks/TruthfulQA.csv.gz"))
    assert len(questions) == 790
    assert 0.15 < np.mean([1 / (1 + len(one.wrong)) for one in questions]) < 0.3
