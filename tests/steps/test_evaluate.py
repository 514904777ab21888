"""Evaluation with less than all: no proxy, no second evaluator, no pairs; and what does not go together."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from accord.errors import UserError
from accord.evaluate.reward_model import accuracy_on_pairs
from accord.monitor.values import percent
from accord.plan import Plan, make_plan
from accord.recipe import parse_recipe
from accord.results import write_report
from accord.steps.registry import STEPS
from accord.store.artifacts import Store
from accord.types import Message, Prompt, RatedText
from tests.fixtures.made_up_data import made_up
from tests.fixtures.recipes import run_steps

__all__ = ["made_up"]

RULES = (
    "def long(responses):\n    return [len(text) for text in responses]\n"
    "def short(responses):\n    return [-len(text) for text in responses]\n"
)
REWARDS = """\
  - reward_function: {name: gold, file: rules.py, function: long}
  - reward_function: {name: proxy, file: rules.py, function: short}
"""
SFT = "  - sft: {data: mine.demos, max_response_tokens: 20}\n"
SMALL = "prompts: mine.prompts, num_prompts: 3, num_samples: 2, max_response_tokens: 4"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made_up: str) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("rules.py").write_text(RULES)
    return tmp_path


def planned(steps: str) -> Plan:
    text = "model: smollm2-135m-instruct\ndata: {mine: builtin:made-up}\nsteps:\n" + steps
    return make_plan(parse_recipe(text, Path("r.yaml")), STEPS)


def test_a_judge_alone_will_do(folder: Path, tiny_model: Path) -> None:
    steps = REWARDS + SFT + f"  - evaluate: {{policies: [start, sft], by: gold, {SMALL}}}\n"
    run = run_steps(folder, tiny_model, steps, finish=lambda at, _: write_report(at, Store(folder / "store")))
    results = json.loads((run / "results.json").read_text())
    assert (results["baseline"], results["by"]) == ("start", "gold"), "the first policy is the baseline"
    assert "reward_model" not in results
    row = results["policies"]["sft"]
    assert {"gold_score", "gold_win_rate", "gold_win_rate_low", "kl"} <= row.keys()
    assert not [key for key in row if key.startswith(("proxy", "second"))]
    assert results["policies"]["start"]["gold_win_rate"] == 0.5
    (sample, *_) = json.loads((run / "steps" / "evaluate" / "samples.json").read_text())
    assert "proxy" not in sample
    assert sample["gold"]["sft"] == len(sample["prefill"] + sample["responses"]["sft"])
    page = (run / "report.html").read_text()
    assert '<th scope="col">gold score</th>' in page
    assert '<th scope="col">proxy score</th>' not in page


def test_a_proxy_without_pairs_and_a_second_evaluator(folder: Path, tiny_model: Path) -> None:
    more = f"by: gold, proxy: proxy, second: [mine.pairs], baseline: sft, {SMALL}"
    run = run_steps(folder, tiny_model, REWARDS + SFT + f"  - evaluate: {{policies: [start, sft], {more}}}\n")
    results = json.loads((run / "steps" / "evaluate" / "results.json").read_text())
    # The proxy is the judge with its sign turned, so they agree on equal lengths alone.
    assert results["reward_model"].keys() == {"name", "agreement_on_samples"}
    row = results["policies"]["start"]
    assert row["proxy_score"] == -row["gold_score"]
    assert "second_win_rate" in row
    assert "proxy_win_rate" not in row


ROUNDS = f"""\
  - repeat:
      rounds: 2
      start: sft
      steps:
        - reject: {{prompts: mine.prompts, num_prompts: 2, reward: proxy, num_samples: 2, max_response_tokens: 4}}
        - evaluate: {{name: longer, policies: [sft, latest], by: gold, {SMALL}}}
        - evaluate: {{name: shorter, policies: [sft, latest], by: proxy, {SMALL}}}
"""


def test_the_report_of_rounds_has_every_evaluation(folder: Path, tiny_model: Path) -> None:
    store = Store(folder / "store")
    run = run_steps(folder, tiny_model, REWARDS + SFT + ROUNDS, finish=lambda at, _: write_report(at, store))
    rows = {row["name"]: row["round"] for row in json.loads((run / "plan.json").read_text())["steps"]}
    assert (rows["sft"], rows["longer-1"], rows["reject-2"]) == (None, 1, 2)
    page = (run / "report.html").read_text()
    assert "<h3>longer against shorter</h3>" in page
    for said in ("longer-1, round 1: against sft, by gold, 3 prompts", "shorter-1, round 1", "longer-2, round 2"):
        assert f"<summary>{said}" in page
    assert "<summary>shorter-2" not in page
    measured = json.loads((run / "steps" / "longer-2" / "results.json").read_text())["policies"]["reject-2"]
    (label,) = set(re.findall(r'aria-label="longer: win rate against sft, by gold, against [^"]*"', page))
    assert f"reject-2 {percent(measured['gold_win_rate'])} % and" in label


@pytest.mark.parametrize(
    ("keys", "where", "says"),
    [
        ("baseline: sft", "r.yaml:6:evaluate", "the baseline 'sft' is not among the policies"),
        ("proxy: gold", "r.yaml:6:evaluate", "'gold' cannot judge what was optimised for it"),
        ("pairs: mine.rated", "r.yaml:6:evaluate.pairs", "there is no proxy\n  Name it with `proxy`, or leave `pairs`"),
        (
            "proxy: proxy, proxy_data: mine.pairs",
            "r.yaml:6:evaluate.proxy_data",
            "there are none\n  Give `pairs`, too, or leave `proxy_data` out.",
        ),
        (
            "proxy: proxy, proxy_data: mine.pairs, second: [mine.pairs]",
            "r.yaml:6:evaluate",
            "the second evaluator may not learn from the proxy's 'mine.pairs'",
        ),
    ],
)
def test_what_does_not_go_together(keys: str, where: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from accord.data import catalog

    monkeypatch.setitem(catalog.BUILTIN["made-up"].parts, "rated", "ratings")  # type: ignore[index]
    with pytest.raises(UserError) as caught:
        planned(REWARDS.rstrip() + f"\n  - evaluate: {{policies: [start], by: gold, {SMALL}, {keys}}}\n")
    assert caught.value.where == where
    assert says in str(caught.value)


class Lengths:
    """A reward of texts: how long they are."""

    def score(self, prompts, responses, advance=None):  # type: ignore[no-untyped-def]
        return torch.tensor([float(len(one.text)) for of_prompt in responses for one in of_prompt])

    def predict(self, texts):  # type: ignore[no-untyped-def]
        return np.array([-float(len(text)) for text in texts])


def test_without_a_bag_of_words_the_accuracy_has_no_floor() -> None:
    items = [RatedText(f"t{i}", "word " * i, (float(i), float(i))) for i in range(1, 12)]
    options = {"min_difference": 0.5, "num_pairs": 30, "seed": 1}
    with_words = accuracy_on_pairs(Lengths(), Prompt("p", (Message("user", "?"),)), items, Lengths(), **options)  # type: ignore[arg-type]
    without = accuracy_on_pairs(Lengths(), Prompt("p", (Message("user", "?"),)), items, None, **options)  # type: ignore[arg-type]
    assert (with_words["accuracy"], with_words["bag_of_words"]) == (1.0, 0.0)
    assert without == {key: value for key, value in with_words.items() if key != "bag_of_words"}


def test_the_estimate_of_a_judge_alone(folder: Path, tiny_model: Path) -> None:
    from accord.estimate.check import check

    steps = REWARDS + SFT + f"  - evaluate: {{policies: [start, sft], by: gold, {SMALL}}}\n"
    text = f"model: {json.dumps(str(tiny_model))}\ndata: {{mine: builtin:made-up}}\nsteps:\n{steps}"
    estimate = check(
        make_plan(parse_recipe(text, Path("r.yaml")), STEPS), STEPS, Store(folder / "s"), timed=False
    ).estimate
    row = estimate.rows[-1]
    # 3 prompts, 2 samples of 4 tokens by each of 2 policies; a function scores without a model, and only the second
    # policy's responses are scored under the reference.
    assert row.step.name == "evaluate"
    assert row.sampled == 3 * 2 * 2 * 4 - 3 * 2 * 2, "the first token of each comes from the prompt's pass"
    assert row.scored > 0
    assert row.memory is not None
    assert row.memory.fits == 0
