"""Safety where it matters, helpfulness elsewhere: the step, its reward, and what rejection sampling makes of it."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from accord.algorithms.calibration import sigmoid
from accord.errors import UserError
from accord.plan import make_plan
from accord.recipe import parse_recipe
from accord.rewards.loading import artifact_reward
from accord.rewards.piecewise import PiecewiseReward
from accord.steps.registry import STEPS
from accord.store.artifacts import Store
from accord.types import Message, Prompt, Response
from tests.fixtures.made_up_data import made_up
from tests.fixtures.recipes import run_steps
from tests.steps.test_earlier import MODEL, asked_of, ran

__all__ = ["made_up"]

ORDINARY = Prompt("a", (Message("user", "Write a line of a film review."),))
RISKY = Prompt("b", (Message("user", "Write a cruel line."),), risk_category="hateful")
MILD, RUDE = Response("It is warm and kind to all"), Response("It is rude")
# The safe reward is 2 for a text without the word, and -2 for one with it: P(safe) .88 and .12.
RULES = """
  - reward_rule: {name: safety, rule: contains, words: [rude], offset: 0.5, gain: -4}
  - reward_rule: {name: helpful, rule: length}
"""
PIECES = "  - piecewise: {{name: both, rewards: [safety, helpful], calibration: given{}}}\n"


@pytest.fixture(autouse=True)
def data(made_up: str) -> None: ...


def labelled(path: Path, rows: list[tuple[str, bool, str, bool]]) -> None:
    lines = [
        {"prompt": "Say.", "chosen": first, "rejected": second, "chosen_safe": safe, "rejected_safe": other}
        for first, safe, second, other in rows
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def load(folder: Path, run: Path, name: str = "both") -> PiecewiseReward:
    artifact = Store(folder / "store").at(run / "steps" / name)
    assert artifact is not None
    reward = artifact_reward(artifact, torch.float32)
    assert isinstance(reward, PiecewiseReward)
    return reward


def made(folder: Path, model: Path, more: str = "") -> PiecewiseReward:
    return load(folder, run_steps(folder, model, RULES + PIECES.format(more)))


def test_the_rules_give_what_they_say(tmp_path: Path, tiny_model: Path):
    prompts, responses = [ORDINARY, RISKY], [[MILD, RUDE], [MILD, RUDE]]
    # raw takes the offset and the gain off again: a word that is there counts 1, so the raw scores are 0 and 1
    low, high = 0.0, 1.0
    words = [7.0, 3.0]
    expected = {
        "slide": [*words, words[0], high],
        "paper": [*words, low, high],
        "threshold": [words[0], words[1], words[0], words[1]],
    }
    for rule, scores in expected.items():
        limit = 0.8 if rule == "slide" else 0.4  # sigmoid(1) = .73, sigmoid(0) = .5
        reward = made(tmp_path / rule, tiny_model, f", rule: {rule}, thresholds: [{limit}]")
        found, failing = reward.gated(prompts, responses)
        if rule == "slide":
            assert found.tolist() == [*words, low, high]
            assert failing.tolist() == [False, False, True, True]
        else:
            assert found.tolist() == scores
            assert failing.tolist() == [False] * 4


def test_the_scale(tmp_path: Path, tiny_model: Path):
    reward = made(tmp_path, tiny_model, ", rule: paper, scale: probability")
    scores = reward.score([RISKY], [[MILD, RUDE]])
    assert scores.tolist() == pytest.approx([0.5, 1 / (1 + math.exp(-1))])


LABELLED = RULES + ("  - piecewise: {name: both, rewards: [safety, helpful], validation: labels%s}\n")


def with_labels(folder: Path, model: Path, more: str, rows: list[tuple[str, bool, str, bool]]) -> tuple[Path, dict]:
    folder.mkdir(exist_ok=True)
    labelled(folder / "labels.jsonl", rows)
    text = f"model: {json.dumps(str(model))}\ndata: {{labels: {json.dumps(str(folder / 'labels.jsonl'))}}}\nsteps:"
    run = ran(text + LABELLED % more, folder)
    return run, json.loads((run / "steps" / "both" / "summary.json").read_text())


def test_calibration_and_the_threshold_on_labels(tmp_path: Path, tiny_model: Path):
    rows = [("It is warm", True, "It is rude", False)] * 6 + [("It is rude", True, "So rude", False)] * 2
    run, summary = with_labels(tmp_path, tiny_model, ", thresholds: [0.3]", rows)
    assert (summary["num_labelled"], summary["num_unsafe"]) == (16, 8)
    assert summary["slope"] < 0  # the rule counts what is rude
    orders = [(row["rule"], row["order"], row["num"]) for row in summary["orders"]]
    assert orders == [
        *((rule, "safety first", 16) for rule in ("slide", "paper", "threshold")),
        ("slide", "helpfulness first", 16),
    ]
    shares = [row["by_safety"] for row in summary["orders"]]
    assert shares[:3] == [0, 10 / 16, 10 / 16], "no prompt is a safety prompt, and ten responses are under 0.3"
    assert summary["orders"][1]["unsafe"]["value"] < 0 < summary["orders"][1]["safe"]["value"]
    at = summary["by_threshold"]
    assert [row["threshold"] for row in at] == [0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5]
    assert (summary["precision"], summary["recall"]) == (0.8, 1.0)  # 10 are rude, 8 of them unsafe
    reward = load(tmp_path, run)
    by = reward.pieces.calibrations[0]
    _, failing = reward.gated([RISKY], [[MILD, RUDE]])
    assert failing.tolist() == [False, True]
    assert sigmoid(by.slope * 1 + by.bias) < 0.3 < sigmoid(by.bias)


@pytest.mark.parametrize("rule", ["slide", "paper", "threshold"])
def test_the_reward_refuses_what_the_summary_counts(tmp_path: Path, tiny_model: Path, rule: str):
    """The threshold is chosen among the validation's own probabilities: none of them may lie on it."""
    rows = [("It is warm", True, "It is rude", False)] * 6 + [("It is rude", True, "So rude", False)] * 2
    run, summary = with_labels(tmp_path, tiny_model, f", precision: 0.7, rule: {rule}", rows)
    texts = [pair for row in rows for pair in (row[:2], row[2:])]
    _, failing = load(tmp_path, run).gated([RISKY] * len(texts), [[Response(text)] for text, _ in texts])
    unsafe = [failed for failed, (_, safe) in zip(failing.tolist(), texts, strict=True) if not safe]
    assert sum(unsafe) / sum(failing.tolist()) == summary["precision"] == 0.8
    assert sum(unsafe) / len(unsafe) == summary["recall"] == 1.0


def test_a_score_that_is_turned_round_is_told(tmp_path: Path, tiny_model: Path):
    rows = [("It is warm", True, "It is rude", False)] * 4
    _, summary = with_labels(tmp_path, tiny_model, ", thresholds: [0.3]", rows)
    assert [alarm["name"] for alarm in summary["alarms"]] == ["turned_round"]
    _, summary = with_labels(tmp_path / "more", tiny_model, ", calibration: given, thresholds: [0.6]", rows)
    assert summary["alarms"] == []
    _, summary = with_labels(tmp_path / "none", tiny_model, ", calibration: given, thresholds: [0.01]", rows)
    assert ([one["name"] for one in summary["alarms"]], summary["recall"]) == (["none_below"], 0)
    safe = [("It is warm", True, "It is rude", True)]
    _, summary = with_labels(tmp_path / "alike", tiny_model, ", calibration: given", safe)
    assert ([one["name"] for one in summary["alarms"]], summary["num_unsafe"]) == (["labels_alike"], 0)


def test_safe_responses_that_are_paid_less_than_unsafe_ones_are_told(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    """The rule counts what is rude, and is turned round; helpfulness is the number of words, less an offset."""
    rows = [("It is warm", True, "It is rude", False)] * 6 + [("It is rude", True, "So rude", False)] * 2
    labelled_steps = LABELLED
    for offset, pays in ((0, False), (100, True)):
        monkeypatch.setattr(
            sys.modules[__name__], "LABELLED", labelled_steps.replace("rule: length", f"rule: length, offset: {offset}")
        )
        _, summary = with_labels(tmp_path / str(offset), tiny_model, ", rule: threshold, thresholds: [0.3]", rows)
        (told,) = [one for one in summary["alarms"] if one["name"] == "unsafe_pays"] or [None]
        assert (told is not None) == pays == (summary["paid"]["safe"] < summary["paid"]["unsafe"])
        if told is not None:
            assert f"paid {summary['paid']['safe']:.2f} on average by 'helpful'" in told["what"]
            assert "`rule: threshold` it pays to be unsafe" in told["what"]
            assert f"and unsafe ones {summary['paid']['unsafe']:.2f} by 'safety': under" in told["what"]
    given = ", calibration: given, rule: threshold, thresholds: [0.15]"  # no response is below that
    _, summary = with_labels(tmp_path / "none", tiny_model, given, rows)
    assert summary["paid"]["num_unsafe"] == 0
    (_, told) = summary["alarms"]
    assert "and an unsafe one is paid at most -1.73 by 'safety', at the threshold: under" in told["what"]


def test_what_cannot_be_read_validates_nothing(tmp_path: Path, tiny_model: Path):
    steps = "  - reward: {name: safety, data: mine.pairs, safety_coef: 0, learning_rate: 1e-3, num_epochs: 1}\n"
    long = "word " * 3000
    rows = [("It is warm", True, "It is rude", False), (long, True, "It is rude", False)]
    labelled(tmp_path / "labels.jsonl", rows)
    file = json.dumps(str(tmp_path / "labels.jsonl"))
    text = f"model: {json.dumps(str(tiny_model))}\ndata: {{mine: builtin:made-up, labels: {file}}}\n"
    text += f"steps:\n{steps}  - reward_rule: {{name: helpful, rule: length}}\n"
    text += "  - piecewise: {name: both, rewards: [safety, helpful], validation: labels, thresholds: [0.9]}\n"
    run = ran(text, tmp_path)
    summary = json.loads((run / "steps/both/summary.json").read_text())
    assert (summary["num_too_long"], summary["num_labelled"]) == (1, 2)


def test_the_threshold_for_a_wanted_precision(tmp_path: Path, tiny_model: Path):
    rows = [("It is warm", True, "It is rude", False)] * 6 + [("It is rude", True, "So rude", False)] * 2
    _, summary = with_labels(tmp_path, tiny_model, ", precision: 0.7", rows)
    assert summary["precision"] == 0.8
    with pytest.raises(UserError, match="at no threshold are 90% of what 'safety' finds unsafe") as caught:
        with_labels(tmp_path / "more", tiny_model, ", precision: 0.9", rows)
    assert caught.value.where.endswith("few.yaml:6:both.precision")


@pytest.mark.parametrize(
    ("more", "rows", "message"),
    [
        ("", [("It is warm", True, "It is rude", True)], "all 2 labels are alike"),
        (", thresholds: [0.01]", [("It is warm", True, "It is rude", False)] * 2, "is under the threshold of 0.01"),
    ],
)
def test_labels_that_do_not_do(tmp_path: Path, tiny_model: Path, more: str, rows: Any, message: str):
    with pytest.raises(UserError, match=message):
        with_labels(tmp_path, tiny_model, more, rows)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("rewards: [safety, helpful]", "a threshold of 0.15 is a probability, and the score of 'safety' is none"),
        ("rewards: [safety, helpful]", "or name comparisons with safety labels as `validation`"),
        ("rewards: [safety, third, helpful], validation: mine.pairs", "a `validation` calibrates the first alone"),
        ("rewards: [safety]", "both.rewards"),
        ("rewards: [safety, safety], calibration: given", "'safety' is among the rewards twice"),
        ("rewards: [safety, helpful], thresholds: [1.5]", "it takes probabilities, each between 0 and 1"),
        (
            "rewards: [safety, helpful], thresholds: 1.5",
            "it takes a list of probabilities between 0 and 1",
        ),
        ("rewards: [safety, helpful], thresholds: [0.1, 0.2], calibration: given", "2 thresholds for 1 rewards"),
        ("rewards: [safety, helpful], precision: 0.9, calibration: given", "chosen on labels, and there are none"),
        ("rewards: [safety, helpful], calibration: platt", "fitted on labels, and there are none"),
        ("rewards: [safety, helpful], validation: mine.pairs, precision: 0.9, thresholds: [0.1]", "to be chosen, too"),
        ("rewards: [safety, helpful], rule: slid", "both.rule"),
        ("rewards: [safety, helpful], validation: []", "an empty list validates nothing"),
        ("rewards: [safety, helpful], thresholds: [], calibration: given", "0 thresholds for 1 rewards"),
    ],
)
def test_what_does_not_go_together(config: str, message: str):
    third = "  - reward_rule: {name: third, rule: json}\n"
    text = f"model: {MODEL}\ndata: {{mine: builtin:made-up}}\nsteps:{RULES}{third}"
    text += f"  - piecewise: {{name: both, {config}}}\n"
    with pytest.raises(UserError) as caught:
        make_plan(parse_recipe(text, Path("r.yaml")), STEPS)
    assert message in str(caught.value)


def test_a_score_that_nothing_made_a_probability_is_told():
    text = f"model: {MODEL}\ndata: {{mine: builtin:made-up}}\nsteps:{RULES}{PIECES.format('')}"
    text += "  - reject: {prompts: mine.prompts, reward: both}\n"
    assert any("taken for the logit" in one for one in make_plan(parse_recipe(text, Path("r.yaml")), STEPS).cautions)
    trained = (
        "  - reward: {name: safety, data: mine.pairs, safety_coef: 1}\n  - reward_rule: {name: helpful, rule: length}\n"
    )
    text = text.replace(RULES.lstrip("\n"), trained).replace(", calibration: given", "")
    assert not make_plan(parse_recipe(text, Path("r.yaml")), STEPS).cautions


def test_rejection_sampling_takes_nothing_that_fails(tmp_path: Path, tiny_model: Path):
    """Short responses are unsafe, by the rule that guards: to safety prompts they are not imitated."""
    rows = [{"prompt": f"Write line {i}.", "risk_category": "hateful" if i % 2 else ""} for i in range(8)]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    steps = """
  - reward_rule: {name: safety, rule: length, unit: characters}
  - reward_rule: {name: helpful, rule: length}
  - piecewise: {name: both, rewards: [safety, helpful], calibration: given, thresholds: [0.999]}
  - reject: {prompts: asked, reward: both, num_samples: 2, max_response_tokens: 6, learning_rate: 1e-3}
  - reject: {name: again, prompts: asked, reward: helpful, start: start, sampler: reject, earlier: [reject],
             num_samples: 2, max_response_tokens: 2, skip_prompts: 4}
"""
    text = f"model: {json.dumps(str(tiny_model))}\ndata: {{asked: {json.dumps(str(tmp_path / 'asked.jsonl'))}}}\nsteps:"
    run = ran(text + steps, tmp_path)
    summary, selection = (
        json.loads((run / "steps/reject" / name).read_text()) for name in ("summary.json", "selection.json")
    )
    best = [json.loads(line) for line in (run / "steps/reject/best.jsonl").read_text().splitlines()]
    assert summary["num_safety_prompts"] == 4
    assert len(best) == 8 - summary["num_without_survivor"]
    for row in best:  # sigmoid(7) > .999: at least seven characters, where the rule looks
        assert "risk_category" not in row or len(row["completion"][0]["content"]) >= 7
    assert [row["num_samples"] for row in selection["by_num_samples"]] == [1, 2]
    assert selection["by_num_samples"][1]["max"] >= selection["by_num_samples"][0]["max"]
    again = json.loads((run / "steps/again/summary.json").read_text())
    assert again["num_prompts"] == 4
    kept = [json.loads(line) for line in (run / "steps/again/best.jsonl").read_text().splitlines()]
    assert again["num_earlier"] == len(kept) - 4 + sum(row in best for row in kept if int(row["id"][-1]) >= 5)


NESTED = PIECES.format("") + "  - %s\n"


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("combine: {rewards: [both, helpful]}", "'both' refuses responses"),
        ("piecewise: {name: outer, rewards: [both, helpful], calibration: given}", "'both' is made of several"),
        ("piecewise: {name: outer, rewards: [both, helpful], validation: mine.pairs}", "'both' is made of several"),
    ],
)
def test_what_would_lose_the_gate_is_refused(step: str, message: str):
    text = f"model: {MODEL}\ndata: {{mine: builtin:made-up}}\nsteps:{RULES}{NESTED % step}"
    with pytest.raises(UserError, match=message):
        make_plan(parse_recipe(text, Path("r.yaml")), STEPS)


def test_labels_that_trained_the_guard_are_told():
    text = f"model: {MODEL}\ndata: {{mine: builtin:made-up}}\nsteps:\n"
    text += (
        "  - reward: {name: safety, data: mine.pairs, safety_coef: 1}\n  - reward_rule: {name: helpful, rule: length}\n"
    )
    text += "  - piecewise: {name: both, rewards: [safety, helpful], validation: mine.pairs}\n"
    (caution,) = make_plan(parse_recipe(text, Path("r.yaml")), STEPS).cautions
    assert "'safety' was trained on mine.pairs" in caution


def test_a_slide_that_meets_no_safety_prompt_is_told(tmp_path: Path, tiny_model: Path):
    def raised(name: str, more: str, **columns: str) -> list[str]:
        path = asked_of(tmp_path, name, "Say.", **columns)
        text = f"model: {json.dumps(str(tiny_model))}\ndata: {{asked: {path}}}\nsteps:{RULES}{PIECES.format(more)}"
        text += "  - reject: {prompts: asked, reward: both, num_samples: 2, max_response_tokens: 4}\n"
        run = ran(text, tmp_path, f"{name}.yaml")
        summary = json.loads((run / "steps/reject/summary.json").read_text())
        return [alarm["name"] for alarm in summary["alarms"]]

    assert "no_safety_prompt" in raised("plain", "")
    assert "no_safety_prompt" not in raised("paper", ", rule: paper")
    assert "no_safety_prompt" not in raised("risky", ", thresholds: [0.1]", risk_category="hateful")


def test_ppo_tells_before_it_begins(tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]):
    path = asked_of(tmp_path, "plain", "Say.")
    text = f"model: {json.dumps(str(tiny_model))}\ndata: {{asked: {path}}}\nsteps:{RULES}{PIECES.format('')}"
    text += "  - ppo: {prompts: asked, reward: both, num_iterations: 1, prompts_per_iteration: 1, num_samples: 2, "
    text += "max_response_tokens: 4, truncation_score: null}\n"
    run = ran(text, tmp_path)
    shown = capsys.readouterr().err
    assert "warning: ppo: no prompt is a safety prompt" in shown
    assert shown.index("no prompt is a safety prompt") < shown.index("ppo  1/1")
    summary = json.loads((run / "steps/ppo/summary.json").read_text())
    assert "no_safety_prompt" in [alarm["name"] for alarm in summary["alarms"]]
