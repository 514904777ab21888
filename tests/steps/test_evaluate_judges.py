"""Evaluation by language models, and on benchmarks."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from accord.api.benchmarks import evaluate_benchmark
from accord.errors import UserError
from accord.plan import Plan, make_plan
from accord.recipe import parse_recipe
from accord.steps.registry import STEPS
from tests.collect.test_judge import prefers_longer, said
from tests.fixtures.http_server import Answer, serving
from tests.fixtures.made_up_data import made_up
from tests.fixtures.recipes import run_steps

__all__ = ["made_up"]

SFT = "  - sft: {data: mine.demos, num_epochs: 1, batch_size: 4, learning_rate: 1.0e-2}\n"
SMALL = "policies: [start, sft], prompts: mine.prompts, num_prompts: 6, num_samples: 2, max_response_tokens: 6"
JUDGE = "endpoint: 'https://judge.example/v1', model: wise"
HEAD = ["Question", "Best Answer", "Correct Answers", "Incorrect Answers"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made_up: str) -> Path:
    monkeypatch.chdir(tmp_path)
    with Path("truth.csv").open("w", newline="") as file:
        rows = [[f"Is {n} even?", "Yes." if n % 2 == 0 else "No.", "", "Perhaps.; Never."] for n in range(6)]
        csv.writer(file).writerows([HEAD, *[[q, best, best, wrong] for q, best, _, wrong in rows]])
    return tmp_path


def planned(steps: str) -> Plan:
    text = "model: smollm2-135m-instruct\ndata: {mine: builtin:made-up}\nsteps:\n" + steps
    return make_plan(parse_recipe(text, Path("r.yaml")), STEPS)


def results(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "steps/evaluate/results.json").read_text())
    return found


def test_a_judge_alone_compares_each_policy_with_the_baseline(folder: Path, tiny_model: Path) -> None:
    with serving(prefers_longer) as asked:
        judge = f"judge: {{endpoint: '{asked.url.removesuffix('/score')}/v1', model: wise, num_prompts: 5}}"
        run = run_steps(folder, tiny_model, SFT + f"  - evaluate: {{{SMALL}, {judge}}}\n")
        assert len(asked.bodies) <= 2 * 5
        assert all(body["messages"][-1]["content"].count("film review") == 1 for body in asked.bodies)
    found = results(run)
    assert "by" not in found
    assert not [key for key in found["policies"]["sft"] if key.startswith("gold")]
    (own,) = found["judges"]
    assert (own["judge"], own["step"], own["n"], own["num_unanswered"]) == ("judge:wise:pairwise-1", "evaluate", 5, 0)
    rows = [json.loads(line) for line in (run / "steps/evaluate/judged.jsonl").read_text().splitlines()]
    assert len(rows) == 10
    # The judge takes the longer response wherever it stands, so the rate is that of longer ones, a tie one half.
    gaps = [len(row["response_a"]) - len(row["response_b"]) for row in rows if row["policy_a"] == "sft"]
    by_hand = sum(0.5 if gap == 0 else float(gap > 0) for gap in gaps) / len(gaps)
    assert own["policies"]["sft"]["win_rate"]["value"] == pytest.approx(by_hand)
    assert found["policies"]["sft"]["judge_win_rate"] == pytest.approx(by_hand)
    assert "judge_win_rate" not in found["policies"]["start"]
    samples = json.loads((run / "steps/evaluate/samples.json").read_text())
    judged_texts = [row["response_a"] for row in rows if row["policy_a"] == "sft"]
    assert [one["prefill"] + one["responses"]["sft"] for one in samples[:5]] == judged_texts


def test_what_judge_steps_said_is_counted(folder: Path, tiny_model: Path) -> None:
    def first(body: Any, before: int) -> Answer:
        return 200, said("A"), {}

    steps = SFT + "  - sample: {prompts: mine.prompts, policies: [start, sft], max_response_tokens: 6}\n"
    with serving(first) as asked:
        base = asked.url.removesuffix("/score")
        steps += f"  - judge: {{comparisons: sample, endpoint: {base}/v1, model: firm, checked_by: mine.pairs}}\n"
        run = run_steps(folder, tiny_model, steps + f"  - evaluate: {{{SMALL}, judged: [judge]}}\n")
    (judge,) = results(run)["judges"]
    assert (judge["judge"], judge["step"]) == ("judge:firm:pairwise-1", "judge")
    assert judge["flips"]["value"] == 1.0
    assert judge["first_place"]["value"] == 1.0
    assert judge["policies"]["sft"]["win_rate"]["value"] == 0.5
    assert judge["with_people"]["num_pairs"] == 8
    alarms = {
        step: json.loads((run / f"steps/{step}/summary.json").read_text())["alarms"] for step in ("judge", "evaluate")
    }
    assert [alarm["name"] for alarm in alarms["judge"]] == ["place", "chance"]
    assert alarms["evaluate"] == [], "they are not raised twice"


def test_a_judge_who_takes_the_first_place_raises_an_alarm(folder: Path, tiny_model: Path) -> None:
    with serving(lambda body, before: (200, said("A"), {})) as asked:
        judge = f"judge: {{endpoint: '{asked.url.removesuffix('/score')}/v1', model: firm}}"
        run = run_steps(folder, tiny_model, SFT + f"  - evaluate: {{{SMALL}, {judge}}}\n")
    (alarm,) = json.loads((run / "steps/evaluate/summary.json").read_text())["alarms"]
    assert alarm["name"] == "place"


def test_replies_that_say_nothing(folder: Path, tiny_model: Path) -> None:
    with serving(lambda body, before: (200, said("Hm."), {})) as asked:
        judge = f"judge: {{endpoint: '{asked.url.removesuffix('/score')}/v1', model: mute}}"
        with pytest.raises(UserError, match="nothing of what judge:mute:pairwise-1 answered to 6 comparisons") as told:
            run_steps(folder, tiny_model, SFT + f"  - evaluate: {{{SMALL}, {judge}}}\n")
    assert told.value.where == "few.yaml:5:evaluate.judge"


def test_a_benchmark_before_and_after(folder: Path, tiny_model: Path) -> None:
    keys = f"{SMALL}, by: gold, benchmarks: [truth.csv]"
    Path("rules.py").write_text("def long(responses):\n    return [len(text) for text in responses]\n")
    reward = "  - reward_function: {name: gold, file: rules.py, function: long}\n"
    found = results(run_steps(folder, tiny_model, SFT + reward + f"  - evaluate: {{{keys}}}\n"))
    first, second = found["benchmarks"]
    assert [(row["task"], row["metric"], row["n"]) for row in (first, second)] == [
        ("truth", "mc1", 6),
        ("truth", "mc2", 6),
    ]
    start, sft = second["policies"].values()
    assert start["difference"] is None
    assert sft["difference"]["value"] == pytest.approx(sft["value"] - start["value"])
    alone = evaluate_benchmark([str(tiny_model)], "truth.csv")["rows"]
    assert start["value"] == pytest.approx(alone[1]["policies"][str(tiny_model)]["value"], abs=1e-5)


@pytest.mark.parametrize(
    ("keys", "where", "says"),
    [
        ("", "r.yaml:5:evaluate", "nobody judges"),
        ("judge: {model: wise}", "r.yaml:5:evaluate.judge", "endpoint and model go together"),
        ("judge: {prompt: pairwise-1}", "r.yaml:5:evaluate.judge", "endpoint and model are missing"),
        (
            f"judge: {{{JUDGE}, prompt: points-1}}",
            "r.yaml:5:evaluate.judge",
            "compares two responses",
        ),
        (
            f"judge: {{{JUDGE}, prompt: no-1}}",
            "r.yaml:5:evaluate.judge",
            "there is no judge prompt",
        ),
        (f"judge: {{{JUDGE}, modell: m}}", "r.yaml:5:evaluate.judge.modell", "model"),
        ("judged: [mine.pairs]", "r.yaml:5:evaluate.judged", "is no `judge` step"),
        ("by: gold, benchmarks: [none.csv]", "r.yaml:5:evaluate", "none.csv"),
        ("by: gold, benchmarks: [bad.csv]", "r.yaml:5:evaluate", "bad.csv:2:Incorrect Answers"),
    ],
)
def test_what_cannot_be_is_said_before_anything_runs(keys: str, where: str, says: str) -> None:
    Path("bad.csv").write_text(",".join(HEAD) + "\nWhat?,This.,This.,\n")
    with pytest.raises(UserError) as caught:
        planned(SFT + f"  - evaluate: {{{SMALL}, {keys}}}\n".replace(", }", "}"))
    assert caught.value.where.startswith(where)
    assert says in str(caught.value)


def test_judged_wants_a_sample_of_the_policies() -> None:
    steps = SFT + f"  - judge: {{comparisons: mine.pairs, {JUDGE}}}\n"
    with pytest.raises(UserError, match="two policies' names are wanted"):
        planned(steps + f"  - evaluate: {{{SMALL}, judged: [judge]}}\n")
    steps = SFT + SFT.replace("{", "{name: other, ") + "  - sample: {prompts: mine.prompts, policies: [sft, other]}\n"
    steps += f"  - judge: {{comparisons: sample, {JUDGE}}}\n"
    with pytest.raises(UserError, match="the baseline 'start' wrote nothing of what 'judge' judged: sft, other did"):
        planned(steps + f"  - evaluate: {{{SMALL}, judged: [judge]}}\n")


def test_a_judge_whose_labels_were_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    steps = SFT + f"  - judge: {{comparisons: mine.pairs, {JUDGE}}}\n  - dpo: {{data: judge}}\n"
    keys = SMALL.replace("[start, sft]", "[sft, dpo]").replace("mine.prompts", "mine.pairs")
    found = planned(steps + f"  - evaluate: {{{keys}, judge: {{{JUDGE}, key_env: NO_SUCH_KEY}}}}\n").cautions
    assert any(
        "r.yaml:7:evaluate.judge: wise judges what has learned from its own verdicts: dpo." in one for one in found
    )
    assert any("the environment variable NO_SUCH_KEY is not set" in one for one in found)
    other = planned(steps + f"  - evaluate: {{{keys}, judge: {{{JUDGE.replace('wise', 'other')}}}}}\n").cautions
    assert not any("its own verdicts" in one for one in other)
