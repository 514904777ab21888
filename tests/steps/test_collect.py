from __future__ import annotations

import json
from pathlib import Path

import pytest

from accord.data.records import read_records
from accord.errors import Interrupted, UserError
from accord.store.workspace import Workspace
from accord.types import Judgement
from tests.fixtures.made_up_data import made_up
from tests.fixtures.recipes import run_steps

__all__ = ["made_up"]

JUDGE = """
from pathlib import Path

def judge(responses, comparison_ids):
    with Path("asked.txt").open("a") as file:
        file.writelines(name + "\\n" for name in comparison_ids)
    return [[len(text) for text in texts] for texts in responses]

def picky(responses):
    return [None if "dull" in texts[1] else [1, 0] for texts in responses]

def some(comparison_ids):
    return [[0, 1] if name in ("c0", "c3") else None for name in comparison_ids]
"""
COLLECT = "  - collect: {comparisons: mine.pairs, file: judge.py, function: judge, batch_size: 3}\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made_up: str) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("judge.py").write_text(JUDGE)
    return tmp_path


def test_judgements_are_added_and_the_file_is_kept(folder: Path, tiny_model: Path):
    step = run_steps(folder, tiny_model, COLLECT) / "steps/collect"
    for comparison, judgements in read_records(step / "train.jsonl", "comparisons"):
        lengths = tuple(float(len(comparison.prompt.prefill + r.text)) for r in comparison.responses)
        assert [(one.annotator, one.grades) for one in judgements] == [("somebody", (1.0, 0.0)), ("judge", lengths)]
    assert (step / "annotator.py").read_text() == JUDGE
    assert json.loads((step / "summary.json").read_text()) == {
        "annotator": "judge",
        "num_judged": 8,
        "num_unanswered": 0,
    }


def test_unanswered_comparisons_without_a_judgement_are_left_out_and_counted(folder: Path, tiny_model: Path):
    steps = "  - sample: {prompts: mine.prompts, max_response_tokens: 6}\n"
    steps += "  - collect: {comparisons: sample, file: ids.py, function: judge, annotator: me}\n"
    Path("ids.py").write_text(
        "def judge(comparison_ids):\n    return [None if i[-1] in '05' else [1, 2] for i in comparison_ids]\n"
    )
    step = run_steps(folder, tiny_model, steps) / "steps/collect"
    records = read_records(step / "train.jsonl", "comparisons")
    assert [comparison.id for comparison, _ in records] == [f"sample-p{i}" for i in (1, 2, 3, 4, 6, 7)]
    assert {judgement.annotator for _, judgements in records for judgement in judgements} == {"me"}
    assert json.loads((step / "summary.json").read_text())["num_unanswered"] == 2


def test_with_former_judgements_they_stay(folder: Path, tiny_model: Path):
    step = run_steps(folder, tiny_model, COLLECT, "collect.function=some") / "steps/collect"
    records = read_records(step / "train.jsonl", "comparisons")
    assert [len(judgements) for _, judgements in records] == [2, 1, 1, 2, 1, 1, 1, 1]


def test_nobody_answers(folder: Path, tiny_model: Path):
    steps = "  - sample: {prompts: mine.prompts, max_response_tokens: 6}\n"
    steps += "  - collect: {comparisons: sample, file: none.py, function: judge}\n"
    Path("none.py").write_text("def judge(responses):\n    return [None] * len(responses)\n")
    with pytest.raises(UserError, match=r":5:collect: none of the 8 comparisons was answered"):
        run_steps(folder, tiny_model, steps)


def test_what_was_judged_before_a_stop_is_not_asked_again(
    folder: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    real, stopped = Workspace.checkpoint_or_stop, []

    def stop(self: Workspace, iteration: int, make: object) -> None:
        if "collect-" in str(self.folder) and not stopped:
            stopped.append(iteration)
            self._stop = lambda: True
        real(self, iteration, make)  # type: ignore[arg-type]

    monkeypatch.setattr(Workspace, "checkpoint_or_stop", stop)
    with pytest.raises(Interrupted):
        run_steps(folder, tiny_model, COLLECT)
    assert stopped == [3]
    step = run_steps(folder, tiny_model, COLLECT) / "steps/collect"
    assert Path("asked.txt").read_text().split() == [f"c{i}" for i in range(8)]
    assert len(read_records(step / "train.jsonl", "comparisons")) == 8


def test_simulated_judgements_train_a_reward_model(folder: Path, tiny_model: Path):
    steps = "  - reward_function: {name: rule, file: rule.py, function: length}\n"
    steps += "  - collect: {comparisons: mine.pairs, reward: rule, noise: 0.5, num_comparisons: 6}\n"
    steps += "  - reward: {data: collect, batch_size: 4, margin: none}\n"
    Path("rule.py").write_text("def length(responses):\n    return [len(text) for text in responses]\n")
    run = run_steps(folder, tiny_model, steps)
    records = read_records(run / "steps/collect/train.jsonl", "comparisons")
    assert {judgements[-1].annotator for _, judgements in records} == {"simulated:rule:noise=0.5"}
    assert len(records) == 6
    assert {tuple(sorted(judgements[-1].grades)) for _, judgements in records} >= {(9.0, 16.0)}
    assert (run / "steps/reward/model/config.json").is_file()


SIMULATED = """\
  - reward_rule: {name: long, rule: length, unit: characters}
  - reward_rule: {name: bright, rule: forbids, words: [warm], offset: 0.5, gain: 4}
  - collect: {comparisons: mine.pairs, reward: long, strength_gaps: [2, 5, 8], safety_reward: bright}
  - reward: {data: collect, safety_coef: 1, batch_size: 4}
"""


def test_simulated_strengths_and_safety_labels_train_a_reward_model(folder: Path, tiny_model: Path):
    run = run_steps(folder, tiny_model, SIMULATED)
    records = read_records(run / "steps/collect/train.jsonl", "comparisons")
    assert [judgements[-1] for _, judgements in records] == [
        Judgement(f"c{i}", "simulated:long:safety=bright", (0.0, 3.0), (False, True)) for i in range(8)
    ]
    summary = json.loads((run / "steps/collect/summary.json").read_text())
    assert (summary["num_labelled"], summary["num_unsafe"]) == (16, 8)
    learnt = json.loads((run / "steps/reward/summary.json").read_text())
    assert learnt["num_comparisons"] == 8


def test_more_than_two_responses_have_no_strength(folder: Path, tiny_model: Path):
    steps = "  - reward_rule: {name: long, rule: length}\n"
    sampled = "  - sample: {prompts: mine.prompts, num_responses: 3, max_response_tokens: 6}\n"
    collect = "  - collect: {comparisons: sample, reward: long, strength_gaps: [2, 5, 8]}\n"
    with pytest.raises(UserError, match=r"few\.yaml:\d+:collect\.strength_gaps: of 3 responses nobody says"):
        run_steps(folder, tiny_model, steps + sampled + collect)


def test_a_reward_that_is_no_probability_is_no_judge_of_safety(folder: Path, tiny_model: Path):
    steps = "  - reward_rule: {name: long, rule: length}\n"
    steps += "  - collect: {comparisons: mine.pairs, reward: long, safety_reward: long}\n"
    said: list[str] = []
    run_steps(folder, tiny_model, steps, say=said.append)
    assert any("the score of 'long' is taken for the logit of a probability" in line for line in said)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{comparisons: mine.pairs, file: judge.py, function: judge, safety_reward: r}", "safety_reward is for an"),
        (
            "{comparisons: mine.pairs, file: judge.py, function: judge, strength_gaps: [1, 2, 3]}",
            "strength_gaps is for",
        ),
        ("{comparisons: mine.pairs, reward: r, safety_noise: 0.1}", "safety_noise is for labels of safety"),
        ("{comparisons: mine.pairs, reward: r, strength_gaps: [2, 1, 3]}", "strength_gaps ascend from above 0"),
        ("{comparisons: mine.pairs}", "name who judges: either `annotator: human`, or file and function, or reward"),
        ("{comparisons: mine.pairs, file: judge.py}", "file and function go together"),
        ("{comparisons: mine.pairs, reward: r, file: judge.py, function: judge}", "name who judges: either"),
        ("{comparisons: mine.pairs, file: judge.py, function: judge, noise: 0.1}", "noise is for an annotator that is"),
        ("{comparisons: mine.pairs, reward: r, annotator: me}", "a simulated annotator signs as simulated"),
        ("{comparisons: mine.pairs, file: judge.py, function: jugde}", "the file has no function 'jugde'"),
        (
            "{comparisons: mine.prompts, file: judge.py, function: judge}",
            "'mine.prompts' holds prompts, and comparisons",
        ),
        (
            "{comparisons: mine.pairs, reward: start}",
            "'start' is the model to start from, and a reward is wanted",
        ),
    ],
)
def test_what_a_plan_refuses(folder: Path, tiny_model: Path, config: str, message: str):
    with pytest.raises(UserError) as caught:
        run_steps(folder, tiny_model, f"  - collect: {config}\n")
    assert message in str(caught.value)


def test_a_judge_that_cannot_be_called_is_refused_by_the_plan(folder: Path, tiny_model: Path):
    Path("judge.py").write_text("def judge(responses, finished):\n    return []\n")
    with pytest.raises(UserError, match=r"^few\.yaml:\d+:collect: judge\.py:1: the function 'judge' wants 'finished'"):
        run_steps(folder, tiny_model, COLLECT)
    assert not (folder / "store").exists()
