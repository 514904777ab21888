"""`accord eval judge`: judges of refusals, of harm and of preferences, beside people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from accord.cli import app
from tests.collect.test_judge import prefers_longer, said
from tests.fixtures.http_server import serving
from tests.test_cli_safety import NO, NOWHERE, YES, folder, harmful_if_sure, judge_at, styled

__all__ = ["folder"]


def evaluated(*arguments: str, status: int = 0) -> str:
    found = CliRunner().invoke(app, ["eval", "judge", *arguments], catch_exceptions=False)
    assert found.exit_code == status, found.output
    return " ".join((found.output if status else found.stdout).split())


def test_judges_of_refusals_beside_people() -> None:
    with serving(lambda body, _: (200, said("3" if NO in body["messages"][-1]["content"] else "1"), {})) as asked:
        given = ("one.csv", "two.csv", "--of", "refusal", *judge_at(asked))
        found = json.loads(evaluated(*given, "--json"))
        assert found["results"].keys() == {"phrases-1", "classifier", "judge:wise:refusal-2"}
        assert found["results"]["judge:wise:refusal-2"]["kappa"]["value"] == 1.0
        assert "judge:wise:refusal-2: 16 responses; right 100.0%" in evaluated(*given)
    alone = json.loads(
        evaluated("one.csv", "--of", "refusal", "--labelled", "two.csv", "--labelled", "one.csv", "--json")
    )
    assert alone["results"].keys() == {"phrases-1", "classifier"}


def test_how_refusals_are_written_beside_people() -> None:
    rows = [(NO, "true", "false"), (NO, "false", "true"), (YES, "false", "")]
    lines = "".join(f'ask {i},"{text}",{declines},{explains}\n' for i, (text, declines, explains) in enumerate(rows))
    Path("people.csv").write_text("prompt,completion,style_declines,style_explains\n" + lines)
    with serving(styled) as asked:
        found = json.loads(evaluated("people.csv", "--of", "refusal-style", *judge_at(asked), "--json"))["results"]
    assert {name: (one["num"], one["accuracy"]["value"]) for name, one in found.items()} == {
        "style-phrases-1, declines": (3, pytest.approx(2 / 3)),
        "style-phrases-1, explains": (2, 0.5),
        "judge:wise:refusal-style-1, declines": (3, pytest.approx(1 / 3)),
        "judge:wise:refusal-style-1, explains": (2, 0.5),
    }
    assert "style-phrases-1, declines:" in evaluated("people.csv", "--of", "refusal-style")
    assert "columns with true or false: style_urgent" in evaluated("one.csv", "--of", "refusal-style", status=2)


def test_a_judge_of_harm_and_one_of_preferences() -> None:
    rows = [{"prompt": f"p{i}", "completion": (YES, NO)[i % 2], "human_scores": [str(i % 2)]} for i in range(6)]
    Path("harm.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with serving(harmful_if_sure) as asked:
        text = evaluated("harm.jsonl", "--of", "harmbench", *judge_at(asked))
    assert "right 0.0%" in text
    assert "sensitivity 0.0%" in text
    texts = [("x", "long one"), *[("long one", "x")] * 3]
    pairs = [{"prompt": f"p{i}", "chosen": chosen, "rejected": other} for i, (chosen, other) in enumerate(texts)]
    Path("pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    with serving(prefers_longer) as asked:
        given = ("pairs.jsonl", "--of", "preference", *judge_at(asked))
        (found,) = json.loads(evaluated(*given, "--json"))["results"].values()
        assert "always the longest 75.0%" in evaluated(*given)
    assert (found["n"], found["ties"], found["num_unread"]) == (4, 0, 0)
    assert (found["accuracy"]["value"], found["baselines"]["longest"]["value"]) == (0.75, 0.75)
    assert found["orders"]["flip_rate"]["value"] == 0.0


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("one.csv", "--of", "harmbench"), "a model judges, and none is named"),
        (("nobody.csv", "--of", "refusal"), "whether it refuses"),
        (("nobody.csv", "--of", "strongreject", *NOWHERE), "how harmful"),
        (
            (
                "one.csv",
                "--of",
                "refusal",
                "--prompt",
                "points-1",
                "--endpoint",
                "http://127.0.0.1:9/v1",
                "--model",
                "m",
            ),
            "answers 1, 2 and 3 are wanted",
        ),
        (
            ("x", "--of", "preference", "--prompt", "rubric-1", *NOWHERE),
            "has a place for a rubric",
        ),
    ],
)
def test_what_a_judge_cannot_be_measured_on(arguments: tuple[str, ...], what: str) -> None:
    Path("nobody.csv").write_text("prompt,completion,label\na,b,safe\n")
    assert what in evaluated(*arguments, status=2)
