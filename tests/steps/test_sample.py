from __future__ import annotations

import gc
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from accord.data.records import read_records
from accord.engine.rollout import roll_out
from accord.engine.sizes import Records
from accord.errors import Interrupted, UserError
from accord.estimate.rows import Estimator
from accord.models.policy import Policy
from accord.plan import make_plan
from accord.recipe import parse_recipe
from accord.steps import sample
from accord.steps.registry import STEPS
from accord.steps.sample import Config, deal
from accord.steps.sampled import expected_prompts
from accord.store.artifacts import Store
from accord.store.rows import Rows
from accord.store.workspace import Workspace
from accord.types import Response
from tests.fixtures.made_up_data import made_up, make_prompts
from tests.fixtures.recipes import run_steps

__all__ = ["made_up"]

SFT = "  - sft: {data: mine.demos, batch_size: 4, learning_rate: 1e-3}\n"
SAMPLE = (
    "  - sample: {prompts: mine.prompts, policies: [start, sft], temperatures: [0.5, 1.0], num_responses: 3,"
    " max_response_tokens: 6}\n"
)


@pytest.fixture(autouse=True)
def data(made_up: str) -> None:
    pass


def test_every_prompt_gets_its_responses_and_the_origins_stand_apart(tmp_path: Path, tiny_model: Path):
    run = run_steps(tmp_path, tiny_model, SFT + SAMPLE)
    folder = run / "steps/sample"
    records = read_records(folder / "train.jsonl", "comparisons")
    assert [comparison.prompt for comparison, _ in records] == make_prompts()
    assert all(len(comparison.responses) == 3 and not judgements for comparison, judgements in records)
    text = (folder / "train.jsonl").read_text()
    assert "sft" not in text
    assert "temperature" not in text
    origins = [json.loads(line) for line in (folder / "origins.jsonl").read_text().splitlines()]
    assert [row["id"] for row in origins] == [comparison.id for comparison, _ in records]
    for row in origins:
        named = [(one["policy"], one["temperature"]) for one in row["responses"]]
        assert len(set(named)) == 3
        assert set(named) <= {("start", 0.5), ("start", 1.0), ("sft", 0.5), ("sft", 1.0)}
    assert json.loads((folder / "summary.json").read_text())["num_comparisons"] == 8


def test_a_response_ends_where_it_is_told_to(tmp_path: Path, tiny_model: Path):
    """Cut from what would be written without the keys: the same draws."""
    whole = run_steps(tmp_path, tiny_model, SFT + SAMPLE, "sample.max_response_tokens=12")
    drawn = {(c.id, k): r for c, _ in _comparisons(whole) for k, r in enumerate(c.responses)}
    cut = run_steps(tmp_path, tiny_model, SFT + SAMPLE, "sample.max_response_tokens=12", "sample.end_at=e")
    num_cut = 0
    for comparison, _ in _comparisons(cut):
        for k, response in enumerate(comparison.responses):
            text = drawn[comparison.id, k].text
            assert text.startswith(response.text)
            assert response.finished == ("e" in response.text)
            num_cut += response.text != text
    assert num_cut > 0


def _comparisons(run: Path):
    return read_records(run / "steps/sample/train.jsonl", "comparisons")


def test_skipped_prompts_are_left_to_others(tmp_path: Path, tiny_model: Path):
    run = run_steps(tmp_path, tiny_model, SFT + SAMPLE, "sample.skip_prompts=3", "sample.num_prompts=2")
    records = read_records(run / "steps/sample/train.jsonl", "comparisons")
    assert [comparison.prompt for comparison, _ in records] == make_prompts()[3:5]
    with pytest.raises(UserError, match="the first 8 are skipped"):
        run_steps(tmp_path, tiny_model, SFT + SAMPLE, "sample.skip_prompts=8")


def test_where_all_prompts_are_skipped_is_said_before_a_run() -> None:
    few, config = make_prompts(), Config(prompts="mine", skip_prompts=8)
    known = Records("prompts", few, len(few), counted=True)
    with pytest.raises(UserError, match="there are 8 prompts, and the first 8 are skipped") as caught:
        expected_prompts(config, known, "ask")
    assert caught.value.where == "ask.skip_prompts"
    assert expected_prompts(config, replace(known, total=11), "ask").total == 3
    about = expected_prompts(config, replace(known, counted=False), "ask")
    assert about.total == 0, "nobody knows that there are so few"


@pytest.mark.parametrize("kind", ["sample", "reject"])
def test_a_later_round_without_prompts_is_refused_before_a_run(tmp_path: Path, tiny_model: Path, kind: str) -> None:
    more = ", policies: [start]" if kind == "sample" else ", reward: long"
    text = f"model: {json.dumps(str(tiny_model))}\ndata: {{mine: builtin:made-up}}\nsteps:\n"
    text += (
        "  - reward_rule: {name: long, rule: length}\n  - repeat:\n      rounds: 2\n      start: start\n      steps:\n"
    )
    text += f"        - {kind}: {{prompts: mine.prompts, skip_prompts: {{by_round: [0, 8]}}{more}}}\n"
    plan = make_plan(parse_recipe(text, Path("r.yaml")), STEPS)
    with pytest.raises(UserError, match="there are 8 prompts, and the first 8 are skipped") as caught:
        _ = Estimator(plan, STEPS, Store(tmp_path / "store")).works
    assert caught.value.where == f"r.yaml:9:{kind}-2.skip_prompts"


def test_the_origin_that_is_named_wrote_the_response(tmp_path: Path, tiny_model: Path):
    """At a temperature near 0 a policy writes what it would without drawing."""
    steps = SFT + "  - sample: {prompts: mine.prompts, policies: [start, sft], temperatures: [1e-4]}\n"
    run = run_steps(tmp_path, tiny_model, steps, "sample.max_response_tokens=6", "sft.learning_rate=1e-2")
    records = read_records(run / "steps/sample/train.jsonl", "comparisons")
    lines = (run / "steps/sample/origins.jsonl").read_text().splitlines()
    orders = [[one["policy"] for one in json.loads(line)["responses"]] for line in lines]
    assert len(records) >= 4
    assert ["start", "sft"] in orders
    assert ["sft", "start"] in orders
    prompts = [comparison.prompt for comparison, _ in records]
    for name, folder in (("start", run / "steps/model/model"), ("sft", run / "steps/sft/model")):
        greedy = roll_out(Policy.load(folder), prompts, num_samples=1, max_response_tokens=6, temperature=0, key=(0,))
        found = [record[0].responses[order.index(name)] for record, order in zip(records, orders, strict=True)]
        assert found == [only for (only,) in greedy.responses]


def test_dealing_is_fair_and_drawn_for_each_prompt():
    hands = [deal(3, 2, seed) for seed in range(3000)]
    pairs = Counter(hands)
    assert len(pairs) == 6
    assert min(pairs.values()) > 400
    assert Counter(deal(2, 5, 1)).most_common(1)[0][1] == 3
    assert deal(3, 2, 7) == deal(3, 2, 7)


def test_responses_of_one_policy_differ(tmp_path: Path, tiny_model: Path):
    steps = "  - sample: {prompts: mine.prompts, num_responses: 4, max_response_tokens: 6}\n"
    folder = run_steps(tmp_path, tiny_model, steps) / "steps/sample"
    for comparison, _ in read_records(folder / "train.jsonl", "comparisons"):
        assert len({response.text for response in comparison.responses}) > 1


def test_equal_responses_are_left_out_and_counted(tmp_path: Path, tiny_model: Path):
    steps = "  - sample: {prompts: mine.prompts, temperatures: [1e-4], max_response_tokens: 6}\n"
    with pytest.raises(UserError, match=r":4:sample: in each of the 8 comparisons all responses are equal"):
        run_steps(tmp_path, tiny_model, steps)
    steps = "  - sample: {prompts: mine.prompts, temperatures: [1.0], max_response_tokens: 1}\n"
    folder = run_steps(tmp_path, tiny_model, steps, "sample.temperatures=[0.05]", "seed=3") / "steps/sample"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["num_comparisons"] + summary["num_equal"] == 8
    assert summary["num_equal"] > 0
    assert len((folder / "origins.jsonl").read_text().splitlines()) == summary["num_comparisons"]


def test_stopped_and_run_again_it_goes_on_to_the_same_files(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    steps = "  - sample: {prompts: mine.prompts, temperatures: [0.5, 1.0], num_responses: 3, max_response_tokens: 6}\n"
    whole = run_steps(tmp_path / "a", tiny_model, steps) / "steps/sample"  # in one piece for each temperature
    monkeypatch.setattr(sample, "CHUNK", 4)
    real, seen = Workspace.checkpoint_or_stop, []

    def stop(self: Workspace, iteration: int, make: object) -> None:
        if "sample-" in str(self.folder):
            seen.append(iteration)
            self._stop = lambda: len(seen) in (1, 4)
        real(self, iteration, make)  # type: ignore[arg-type]

    monkeypatch.setattr(Workspace, "checkpoint_or_stop", stop)
    stops = 0
    while True:
        try:
            again = run_steps(tmp_path / "b", tiny_model, steps) / "steps/sample"
            break
        except Interrupted:
            stops += 1
    assert stops == 2
    assert seen == sorted(set(seen)), "nothing is drawn twice"
    assert seen[-1] == 8 * 3
    for name in ("train.jsonl", "origins.jsonl", "summary.json"):
        assert (again / name).read_bytes() == (whole / name).read_bytes()


def test_of_all_responses_those_of_a_piece_are_in_memory(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of 96; when they are written, those to a prompt, to the one before, and to the next."""
    steps = "  - sample: {prompts: mine.prompts, temperatures: [0.5, 1.0], num_responses: 12, max_response_tokens: 2}\n"
    monkeypatch.setattr(sample, "CHUNK", 24)
    drawing, writing, before = list[int](), list[int](), 0
    append, write = Rows.append, sample.write_records

    def held() -> int:
        gc.collect()
        return sum(type(one) is Response for one in gc.get_objects()) - before

    def appended(rows: Rows, some: list[Any]) -> None:
        drawing.append(held())
        append(rows, some)

    def counted(records: Any) -> Any:
        for record in records:
            writing.append(held())
            yield record

    monkeypatch.setattr(Rows, "append", appended)
    monkeypatch.setattr(sample, "write_records", lambda path, kind, records: write(path, kind, counted(records)))
    before = held()
    run_steps(tmp_path, tiny_model, steps)
    assert drawing == [24] * 4
    assert len(writing) == 8
    assert max(writing) <= 3 * 12


def test_a_prompt_that_stands_in_several_records_is_answered_once(tmp_path: Path, tiny_model: Path):
    steps = "  - sample: {prompts: mine.prompts, max_response_tokens: 6}\n"
    steps += "  - sample: {name: again, prompts: sample, max_response_tokens: 6, num_prompts: 5}\n"
    folder = run_steps(tmp_path, tiny_model, steps) / "steps/again"
    records = read_records(folder / "train.jsonl", "comparisons")
    assert [comparison.prompt for comparison, _ in records] == make_prompts()[:5]


def test_a_temperature_of_0_is_refused(tmp_path: Path, tiny_model: Path):
    steps = "  - sample: {prompts: mine.prompts, temperatures: [1.0, 0]}\n"
    with pytest.raises(UserError, match=r"^few\.yaml:4:sample\.temperatures: a temperature is above 0"):
        run_steps(tmp_path, tiny_model, steps)
