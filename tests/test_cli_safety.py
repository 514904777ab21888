from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from accord.cli import app
from tests.collect.test_judge import said
from tests.fixtures.http_server import Answer, serving

NO, YES = "I'm sorry, but I cannot help with that.", "Sure, here is how."
COLUMNS = "prompt,completion,label,outcome\n"


def accord(*arguments: str, status: int = 0) -> str:
    found = CliRunner().invoke(app, ["eval", "safety", *arguments], catch_exceptions=False)
    assert found.exit_code == status, found.output
    return " ".join((found.output if status else found.stdout).split())


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """one.csv complies with one of four unsafe prompts, and refuses one of four safe ones; two.csv with all."""
    monkeypatch.chdir(tmp_path)
    rows = [("bad0", YES, "unsafe"), *((f"bad{i}", NO, "unsafe") for i in (1, 2, 3))]
    rows += [("good0", NO, "safe"), *((f"good{i}", YES, "safe") for i in (1, 2, 3))]
    write("one.csv", rows)
    write("two.csv", [(prompt, YES, label) for prompt, _, label in rows])
    return tmp_path


def write(name: str, rows: list[tuple[str, str, str]]) -> None:
    lines = [f'{prompt},"{text}",{label},{"refusal" if text == NO else "compliance"}\n' for prompt, text, label in rows]
    Path(name).write_text(COLUMNS + "".join(lines))


def test_violations_and_false_refusals_together() -> None:
    found = json.loads(accord("one.csv", "--json"))["results"]["one.csv"]
    assert (found["violation_rate"]["value"], found["false_refusal_rate"]["value"]) == (0.25, 0.25)
    assert found["violation_rate"]["low"] < 0.25 < found["violation_rate"]["high"]
    assert found["error"]["accuracy"]["value"] == 1.0
    people = json.loads(accord("one.csv", "--by", "people", "--json"))["results"]["one.csv"]
    assert (people["by"], people["violation_rate"]["value"]) == ("people", 0.25)
    text = accord("one.csv")
    assert "unsafe prompts complied with (violations): 25.0%" in text
    assert "it sees 100.0%" in text


def test_two_files_are_compared_on_the_same_prompts() -> None:
    found = json.loads(accord("one.csv", "two.csv", "--json"))["compared"]
    assert found["unsafe"] == {"num": 4, "only_first": 3, "only_second": 0, "p_value": 0.25}
    assert found["safe"] == {"num": 4, "only_first": 0, "only_second": 1, "p_value": 1.0}
    assert "McNemar's exact p = 0.25" in accord("one.csv", "two.csv")


def test_a_policy_answers_once(tiny_model: Path) -> None:
    asked = ("--policy", str(tiny_model), "--prompts", "one.csv", "--out", "said", "--max-response-tokens", "4")
    assert "of 3" in accord(*asked, "--limit", "3")
    (path,) = Path("said").iterdir()
    assert len(path.read_text().splitlines()) == 3
    accord(*asked, "--json")
    assert len(path.read_text().splitlines()) == 8
    assert "of other weights, or of another length" in accord(*asked[:-1], "5", status=2)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ((), "one or two are measured at a time"),
        (("one.csv", "two.csv", "one.csv"), "one or two are measured at a time"),
        (("one.csv", "one.csv"), "each once"),
        (("nobody.csv", "--by", "people"), "nobody.csv: people have not said of any response"),
        (("one.csv", "--policy", "x"), "its responses are kept"),
        (("none.csv",), "none.csv"),
        (("plain.csv",), "of no prompt it is said"),
        (("wrong.csv",), "wrong.csv:2:outcome: outcome 'perhaps' is none of"),
        (("prompts.csv",), "the file holds no responses"),
        (("one.csv", "--by", "classifier", "--labelled", "plain.csv"), "no labelled responses to learn from"),
    ],
)
def test_what_does_not_fit_is_said(arguments: tuple[str, ...], what: str) -> None:
    Path("plain.csv").write_text("prompt,completion\na,b\n")
    Path("nobody.csv").write_text("prompt,completion,label\na,b,safe\n")
    Path("wrong.csv").write_text(COLUMNS + "a,b,safe,perhaps\n")
    Path("prompts.csv").write_text("prompt,label\na,safe\n")
    assert what in accord(*arguments, status=2)


def test_a_type_that_says_safe_or_unsafe_is_taken_at_its_word() -> None:
    rows = [{"prompt": kind, "completion": YES, "type": kind} for kind in ("unsafe", "safe", "contrast_x", "x")]
    Path("types.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = json.loads(accord("types.jsonl", "--json"))["results"]["types.jsonl"]
    assert (found["unsafe"]["num"], found["safe"]["num"]) == (2, 2)


def test_a_model_decides_and_is_asked_once() -> None:
    def answer(body: Any, before: int) -> Answer:
        return 200, said("3" if NO in body["messages"][-1]["content"] else "1"), {}

    with serving(answer) as asked:
        judge = (
            "one.csv",
            "--by",
            "judge",
            "--endpoint",
            asked.url.removesuffix("/score"),
            "--model",
            "wise",
            "--json",
        )
        found = json.loads(accord(*judge))["results"]["one.csv"]
        num = len(asked.bodies)
        assert num == 8
        assert json.loads(accord(*judge))["results"]["one.csv"] == found
        assert len(asked.bodies) == num
    assert (found["by"], found["violation_rate"]["value"]) == ("judge:wise:refusal-2", 0.25)
    assert found["error"]["accuracy"]["value"] == 1.0
    assert "a judge is a model behind an endpoint" in accord("one.csv", "--by", "judge", status=2)
