"""accord eval, as typed."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from typer.testing import CliRunner

import accord
from accord.cli import app
from accord.data import catalog, film_reviews
from accord.models.scalar import Normalisation, ScalarModel
from accord.rewards.learned import LearnedReward
from tests.fixtures.film_reviews import make_ratings_files
from tests.fixtures.judged import pair, write

ROWS = [
    pair("a", "one two three", "one", subset="long"),
    pair("b", "one two", "one", subset="long"),
    pair("c", "one", "one two three", subset="short"),
    pair("d", "one", "two", subset="short", tie=True),
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(Path("pairs.jsonl"), ROWS)
    Path("rules.py").write_text(
        "def words(prompts, responses, **kwargs):\n    return [len(text.split()) for text in responses]\n"
    )
    return tmp_path


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["eval", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_function_as_text_and_as_json(here: Path) -> None:
    status, out, _ = run("reward-model", "rules.py:words", "--data", "pairs.jsonl", "--probes")
    assert status == 0
    assert "3 ordered pairs of 3 prompts; 1 ties left out" in out
    assert "accuracy 0.667 (" in out
    assert "always the longest response        0.667" in out
    assert "by subset" in out
    assert "padding" in out
    assert max(map(len, out.splitlines())) <= 100
    status, out, err = run("reward-model", "rules.py:words", "--data", "pairs.jsonl", "--json")
    assert status == 0
    found = json.loads(out)
    assert {"accuracy", "low", "high", "n", "ties", "subsets", "baselines"} <= found.keys()
    assert (found["model"], found["n"], found["ties"]) == ("rules.py:words", 3, 1)
    assert "scoring" in err


def test_a_model_by_its_folder(here: Path, tiny_model: Path) -> None:
    ScalarModel.from_policy(tiny_model, seed=1).save(here / "reward", {}, Normalisation())
    status, out, _ = run("reward-model", "reward", "--data", "pairs.jsonl", "--json", "--limit", "2", "--by", "prompt")
    assert status == 0
    found = json.loads(out)
    assert (found["n"], list(found["subsets"])) == (2, ["a", "b"])


def test_baselines(here: Path) -> None:
    status, out, _ = run("baselines", "--data", "pairs.jsonl")
    assert status == 0
    assert "subset short: 1 pairs" in out
    status, out, _ = run("baselines", "--data", "pairs.jsonl", "--json", "--column", "chosen=rejected")
    assert status == 2
    status, out, _ = run("baselines", "--data", "pairs.jsonl", "--json")
    assert json.loads(out)["subsets"]["long"]["baselines"]["longest"]["value"] == 1.0


def test_what_is_wrong_is_said(here: Path) -> None:
    status, _, err = run("reward-model", "nothing", "--data", "pairs.jsonl")
    assert status == 2
    assert "there is no reward 'nothing'" in err
    status, _, err = run("reward-model", "rules.py:words", "--data", "pears.jsonl")
    assert status == 2
    assert "there is no data set 'pears.jsonl'" in err


def test_a_stop_says_what_is_kept(here: Path) -> None:
    with patch("accord.evaluate.reward_report.score_all", side_effect=KeyboardInterrupt):
        status, _, err = run("reward-model", "rules.py:words", "--data", "pairs.jsonl")
    assert status == 130
    assert "stopped; what a model has scored is kept" in err


def test_a_model_scores_a_text_once(here: Path, tiny_model: Path) -> None:
    """And so does another command, for its part of the texts; not the same folder with another head."""
    asked: list[int] = []
    score = LearnedReward.score

    def counted(self: LearnedReward, prompts: Any, responses: Any, advance: Any = None) -> Any:
        asked.append(len(prompts))
        return score(self, prompts, responses, advance)

    ScalarModel.from_policy(tiny_model, seed=1).save(here / "reward", {}, Normalisation(0.5, 2.0))
    given = ("reward-model", "reward", "--data", "pairs.jsonl", "--json")
    with patch.object(LearnedReward, "score", counted):
        plain = json.loads(run(*given, "--limit", "2")[1])
        whole = json.loads(run(*given)[1])
        assert asked == [2, 1]
        probed = json.loads(run(*given, "--by", "prompt", "--probes")[1])
        assert asked[2:] == [3] * 6
        assert json.loads(run(*given, "--by", "prompt", "--probes")[1]) == probed
        assert len(asked) == 8
        assert json.loads(run(*given)[1]) == whole
        (log,) = (here / "accord-store/reward-scores").iterdir()
        with log.open("ab") as torn:
            torn.write(b'{"key": "torn')
        ScalarModel.from_policy(tiny_model, seed=2).save(here / "reward", {}, Normalisation(0.5, 2.0))
        other = json.loads(run(*given)[1])
        assert asked[8:] == [3]
    uncached = accord.evaluate_reward_model(accord.load_reward("reward"), "pairs.jsonl")
    assert other["score_difference"]["value"] == pytest.approx(uncached["score_difference"]["value"], abs=1e-5)
    assert other["score_difference"] != whole["score_difference"]
    assert (plain["n"], whole["n"]) == (2, 3)


def test_the_built_in_data(here: Path) -> None:
    data = catalog.BUILTIN["film-reviews"]
    sizes = {
        "sft": 8,
        "proxy": 40,
        "gold_validation": 8,
        "gold_test": 8,
        "pair_test": 8,
        "test_prompts": 8,
        "prompts": 8,
    }
    prepare = partial(film_reviews.prepare, read=partial(make_ratings_files, 100), sizes=sizes)
    with patch.dict(catalog.BUILTIN, {"film-reviews": replace(data, prepare=prepare)}):
        status, out, _ = run("reward-model", "rules.py:words", "--data", "builtin:film-reviews.proxy", "--json")
        assert status == 0
        found = json.loads(out)
        assert found["prompts"] == 5
        assert found["accuracy"] == found["baselines"]["longest"]["value"]
        few = json.loads(run("baselines", "--data", "builtin:film-reviews.gold_test", "--json")[1])
        assert few["prompts"] == 1
        for arguments, what in {
            ("baselines", "--data", "builtin:film-reviews"): "Name one of builtin:film-reviews.proxy, builtin",
            ("baselines", "--data", "builtin:film-reviews.sft"): "the part with the comparisons is wanted",
            ("baselines", "--data", "builtin:films.proxy"): "there is no data set 'builtin:films'",
            ("baselines", "--data", "builtin:film-reviews.proxy", "--by", "id"): "has no columns, and no options",
            ("win-rate", "builtin:film-reviews"): "no built-in data set holds judged pairs",
            (
                "reward-model",
                "rules.py:words",
                "--data",
                "builtin:film-reviews.proxy",
                "--suite",
                "rewardbench",
            ): "a suite is scored on its own file",
        }.items():
            status, _, err = run(*arguments)
            assert status == 2
            assert what in err


def test_win_rates_of_judged_pairs(here: Path) -> None:
    rows = [
        {
            "prompt": f"p{i}",
            "policy_a": "new",
            "response_a": "# A\n\n" + "so " * (i % 7),
            "policy_b": "old",
            "response_b": "so " * (i % 4),
            "verdict": "b" if i % 3 else "a",
        }
        for i in range(12)
    ]
    write(Path("judged.jsonl"), rows)
    status, out, _ = run("win-rate", "judged.jsonl", "--column", "winner=verdict")
    assert status == 0
    assert "judged.jsonl, against old" in out
    assert "always the longest response" in out
    assert "at equal style" in out
    assert max(map(len, out.splitlines())) <= 100
    status, out, _ = run("win-rate", "judged.jsonl", "--column", "winner=verdict", "--baseline", "new", "--json")
    assert json.loads(out)["judges"]["judge"]["policies"]["old"]["win_rate"]["value"] == pytest.approx(2 / 3)
    status, _, err = run("win-rate", "judged.jsonl")
    assert status == 2
    assert "judged.jsonl:1:winner: is missing" in err
