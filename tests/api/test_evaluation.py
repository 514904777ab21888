from __future__ import annotations

import os
from pathlib import Path

import pytest

import accord
from tests.fixtures.judged import pair, write
from tests.fixtures.made_up_data import made_up
from tests.fixtures.recipes import run_steps

__all__ = ["made_up"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("rules.py").write_text(
        "def brevity(responses, **kw):\n    return [-len(text.split()) for text in responses]\n"
    )
    return tmp_path


def test_a_reward_or_its_name(here: Path) -> None:
    data = write(Path("p.jsonl"), [{"question": f"q{i}", "chosen": "a", "rejected": "a b"} for i in range(4)])
    reward = accord.load_reward("rules.py:brevity")
    for model in (reward, "rules.py:brevity"):
        found = accord.evaluate_reward_model(model, data, columns={"prompt": "question"})
        assert (found["model"], found["accuracy"], found["baselines"]["shortest"]["value"]) == (
            "rules.py:brevity",
            1,
            1,
        )


def test_an_ensemble_of_a_store(made_up: str, here: Path, tiny_model: Path) -> None:
    keys = "name: judges, data: mine.pairs, members: 2, lora: {rank: 4}, batch_size: 4, combine: mean"
    run_steps(here, tiny_model, f"  - reward: {{{keys}}}\n")
    data = write(Path("p.jsonl"), [pair(f"Line {i}.", "It is warm.", "A dull plot.") for i in range(3)])
    found = accord.evaluate_reward_model("few:judges", data, store=here / "store", probes=True)
    ensemble = found["ensemble"]
    assert (ensemble["num_members"], len(ensemble["accuracy"]), found["n"]) == (2, 2, 3)
    assert ensemble["spread"] > 0
    assert ensemble["unanimous"]["n"] + ensemble["divided"]["n"] == 3
    assert found["probes"]["padding"]["n"] == 6


def test_what_is_wrong_is_said(here: Path) -> None:
    data = write(Path("p.jsonl"), [pair("a", "a", "a b")])
    with pytest.raises(accord.UserError, match="suite: 'rewardbench3' is not known"):
        accord.evaluate_reward_model("rules.py:brevity", data, suite="rewardbench3")
    with pytest.raises(accord.UserError, match="there is no option 'colums'"):
        accord.null_baselines(data, colums={})
    with pytest.raises(accord.UserError, match="num_probed is 0"):
        accord.evaluate_reward_model("rules.py:brevity", data, num_probed=0)


# n and how often the longest response is the chosen one, equal lengths counted one half: README of the data.
@pytest.mark.parametrize(
    ("name", "longer", "equal"), [("hh_helpful", 0.594, 0.018), ("hh_harmless", 0.432, 0.019), ("autoj", 0.699, 0.015)]
)
def test_the_floors_of_peoples_preferences(name: str, longer: float, equal: float) -> None:
    folder = os.environ.get("ACCORD_DATA")
    if not folder:
        pytest.skip("ACCORD_DATA does not name a folder with the reference data")
    found = accord.null_baselines(Path(folder) / "prefs" / f"{name}.jsonl.gz")["baselines"]
    assert found["longest"]["value"] == pytest.approx(longer + equal / 2, abs=0.003)  # some rows have an empty response
    assert found["longest"]["low"] < found["longest"]["value"] < found["longest"]["high"]
    assert found["longest"]["value"] + found["shortest"]["value"] == pytest.approx(1)


def test_of_pairs_that_share_prompts_the_interval_is_wider(here: Path) -> None:
    folder = os.environ.get("ACCORD_DATA")
    if not folder:
        pytest.skip("ACCORD_DATA does not name a folder with the reference data")
    data = Path(folder) / "prefs" / "pandalm.jsonl.gz"
    found = accord.evaluate_reward_model("rules.py:brevity", data)
    assert found["accuracy"] == found["baselines"]["shortest"]["value"]
    assert 1.96 * (found["accuracy"] * (1 - found["accuracy"]) / found["n"]) ** 0.5 < found["high"] - found["accuracy"]
    assert len(found["subsets"]) == 10
    assert [one["n"] for one in found["strengths"]][-1] > 500  # most raters agreed
