from __future__ import annotations

import json
from pathlib import Path

import pytest

from accord.errors import UserError
from tests.fixtures.made_up_data import made_up
from tests.fixtures.recipes import run_steps

__all__ = ["made_up"]

LENGTH = "def length(responses):\n    return [len(text) for text in responses]\n"
STEP = "  - reward_function: {name: rule, file: mine.py, function: length}\n"
REJECT = "  - reject: {prompts: mine.prompts, reward: rule, num_samples: 3, max_response_tokens: 6, batch_size: 4}\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made_up: str) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(LENGTH)
    return tmp_path


def test_the_artifact_holds_a_copy_and_an_edited_file_runs_again(
    folder: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
):
    run = run_steps(folder, tiny_model, STEP)
    rule = run / "steps/rule"
    assert (rule / "reward.py").read_text() == LENGTH
    assert json.loads((rule / "reward.json").read_text()) == {
        "function": "length",
        "file": "mine.py",
        "normalisation": {"offset": 0.0, "gain": 1.0},
    }
    run_steps(folder, tiny_model, STEP)
    assert "rule: cached" in capsys.readouterr().out
    Path("mine.py").write_text(LENGTH + "# edited\n")
    run_steps(folder, tiny_model, STEP)
    assert "rule: running" in capsys.readouterr().out
    assert (rule / "reward.py").read_text().endswith("# edited\n")


def test_rejection_sampling_by_a_function(folder: Path, tiny_model: Path):
    step = run_steps(folder, tiny_model, STEP + REJECT, "rule.gain=-1") / "steps/reject"
    scores = json.loads((step / "selection.json").read_text())
    assert scores["mean_score"] < scores["best_score"] < 0
    chosen = [json.loads(line) for line in (step / "best.jsonl").read_text().splitlines()]
    turns = [(row["prompt"][1:] or [{"content": ""}])[0]["content"] + row["completion"][0]["content"] for row in chosen]
    assert scores["best_score"] == pytest.approx(-sum(map(len, turns)) / len(turns), abs=1.0)


def test_ppo_takes_it_as_reward_and_to_watch(folder: Path, tiny_model: Path):
    Path("mine.py").write_text(LENGTH + "def flat(responses):\n    return [-1.0] * len(responses)\n")
    steps = STEP + "  - reward_function: {name: flat, file: mine.py, function: flat}\n"
    steps += (
        "  - ppo: {prompts: mine.prompts, reward: rule, watch: [flat], num_iterations: 2, prompts_per_iteration: 4,"
        " num_samples: 2, max_response_tokens: 6}\n"
    )
    run = run_steps(folder, tiny_model, steps, "rule.gain=0.1")
    rows = [json.loads(line) for line in (run / "steps/ppo/metrics.jsonl").read_text().splitlines()]
    assert [row["watch/flat"] for row in rows] == [-1.0, -1.0]
    assert all(0 < row["objective/scores"] < 5 for row in rows)
    assert rows[0]["policy/first_ratio"] == 1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            "{file: none.py, function: length}",
            "few.yaml:4:reward_function: none.py: the file of the function cannot be read",
        ),
        (
            "{file: mine.py, function: lenght}",
            "few.yaml:4:reward_function: mine.py: the file has no function 'lenght'\n  Did you mean 'length'?",
        ),
        ("{file: mine.py}", "few.yaml:4:reward_function.function: the key 'function' is missing"),
        ("{file: 3, function: length}", "few.yaml:4:reward_function.file: "),
        (
            "{file: mine.py, function: length, gain: 0}",
            "few.yaml:4:reward_function: a gain of 0 makes all responses equal",
        ),
        ("{file: mine.py, functoin: length}", "few.yaml:4:reward_function.functoin: unknown key 'functoin'"),
    ],
)
def test_what_a_plan_refuses(folder: Path, tiny_model: Path, config: str, message: str):
    with pytest.raises(UserError) as caught:
        run_steps(folder, tiny_model, f"  - reward_function: {config}\n")
    assert str(caught.value).startswith(message)


def test_the_keywords_are_those_of_the_call():
    from accord.rewards.functions import reward_arguments
    from accord.steps.reward_function import KEYWORDS

    assert tuple(reward_arguments([])) == KEYWORDS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "x = 1\ndef odd(foo, responses, bar):\n    pass\n",
            "mine.py:2: the function 'odd' wants 'foo' and 'bar', which it is not given\n"
            "  It is called with those of these keywords that it takes: "
            "prompts, responses, completions, prefills, finished, prompt_ids.",
        ),
        ("def odd(*, foo, responses=1):\n    pass\n", "mine.py:1: the function 'odd' wants 'foo'"),
        ("def odd(responses, /):\n    pass\n", "mine.py:1: the function 'odd' wants 'responses'"),
        ("\nodd = 3\n", "mine.py:2: 'odd' is not a function"),
    ],
)
def test_a_plan_refuses_what_cannot_be_called(folder: Path, tiny_model: Path, text: str, message: str):
    Path("mine.py").write_text(text)
    with pytest.raises(UserError) as caught:
        run_steps(folder, tiny_model, "  - reward_function: {file: mine.py, function: odd}\n")
    assert str(caught.value).startswith(f"few.yaml:4:reward_function: {message}")
    assert not (folder / "store").exists()


def test_a_file_that_fails_when_it_is_run_fails_before_training(folder: Path, tiny_model: Path):
    Path("mine.py").write_text("import no_such_package\n" + LENGTH)
    with pytest.raises(UserError, match=r"^mine\.py:1: the function 'length' failed: ModuleNotFoundError"):
        run_steps(folder, tiny_model, STEP + REJECT)
    assert not list((folder / "store/artifacts").glob("reward_function-*"))
