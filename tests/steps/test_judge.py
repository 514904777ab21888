from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from accord.collect.askers import Question
from accord.collect.policy_asker import PolicyAsker
from accord.data.records import read_records
from accord.errors import Interrupted, UserError
from accord.models.policy import Policy
from accord.store.workspace import Workspace
from accord.types import Message
from tests.collect.test_judge import prefers_longer, said
from tests.fixtures.http_server import Answer, serving
from tests.fixtures.made_up_data import made_up
from tests.fixtures.recipes import run_steps

__all__ = ["made_up"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made_up: str) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def steps(url: str, more: str = "") -> str:
    base = url.removesuffix("/score")
    return f"  - judge: {{comparisons: mine.pairs, endpoint: {base}/v1, model: wise, batch_size: 3{more}}}\n"


def test_judgements_of_an_endpoint_stand_beside_those_of_people(folder: Path, tiny_model: Path) -> None:
    with serving(prefers_longer) as asked:
        step = run_steps(folder, tiny_model, steps(asked.url, ", checked_by: mine.pairs")) / "steps/judge"
        assert len(asked.bodies) == 2 * 8  # what was checked is not asked again
    for _, judgements in read_records(step / "train.jsonl", "comparisons"):
        people, judge = judgements
        assert (people.annotator, people.grades) == ("somebody", (1.0, 0.0))
        assert (judge.annotator, judge.grades) == ("judge:wise:pairwise-1", (0.0, 1.0))
    summary = json.loads((step / "summary.json").read_text())
    assert summary["with_people"]["agreement"]["value"] == 0.0  # an endpoint is believed, and it is said
    assert summary["flip_rate"]["value"] == 0.0
    (alarm,) = summary["alarms"]
    assert alarm["what"].startswith("the judge agrees with people on 0% (0% to 32%) of 8 pairs")
    assert (summary["num_judged"], summary["num_unanswered"]) == (8, 0)
    rows = [json.loads(line) for line in (step / "verdicts.jsonl").read_text().splitlines()]
    assert rows[0] == {
        "comparison_id": "c0",
        "first": 0,
        "second": 1,
        "forward": 0.0,
        "backward": 0.0,
        "probability": None,
    }


def test_after_a_death_of_the_endpoint_it_goes_on_and_asks_nothing_twice(folder: Path, tiny_model: Path) -> None:
    alive = False

    def answer(body: Any, before: int) -> Answer:
        return prefers_longer(body, before) if alive or before < 7 else (400, {}, {})

    with serving(answer) as asked:
        with pytest.raises(UserError, match="answered 400"):
            run_steps(folder, tiny_model, steps(asked.url, ", concurrent: 1"))
        before, alive = len(asked.bodies), True
        run = run_steps(folder, tiny_model, steps(asked.url, ", concurrent: 1"))
        assert len(asked.bodies) - before == 2 * 8 - 7
        assert json.loads((run / "steps/judge/summary.json").read_text())["num_judged"] == 8


def test_what_the_endpoint_declines_may_count_as_unanswered(folder: Path, tiny_model: Path) -> None:
    def answer(body: Any, before: int) -> Answer:
        return (400, {}, {}) if 2 < before < 7 else prefers_longer(body, before)

    with serving(answer) as asked:
        run = run_steps(folder, tiny_model, steps(asked.url, ", concurrent: 1, skip_declined: true"))
    summary = json.loads((run / "steps/judge/summary.json").read_text())
    assert (summary["num_judged"], summary["num_unanswered"]) == (6, 2)


def test_a_stop_between_two_batches_keeps_the_verdicts(
    folder: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(prefers_longer) as asked:
        monkeypatch.setattr(Workspace, "stop_requested", lambda self: len(asked.bodies) >= 6)
        with pytest.raises(Interrupted):
            run_steps(folder, tiny_model, steps(asked.url))
        monkeypatch.setattr(Workspace, "stop_requested", lambda self: False)
        run = run_steps(folder, tiny_model, steps(asked.url))
        assert len(asked.bodies) == 16
    assert len((run / "steps/judge/verdicts.jsonl").read_text().splitlines()) == 8


def test_a_policy_that_is_about_chance_is_refused(folder: Path, tiny_model: Path) -> None:
    Path("own.yaml").write_text("mode: pairwise\nuser: '{first} or{second}?'\nlabels: {first: A, second: B}\n")
    own = "  - judge: {comparisons: mine.pairs, policy: start, checked_by: mine.pairs, prompt: own.yaml}\n"
    with pytest.raises(UserError, match=r"agrees with people on .* it cannot judge") as refused:
        run_steps(folder, tiny_model, own)
    assert "force: true" in refused.value.remedy
    run = run_steps(folder, tiny_model, own, "judge.force=true")
    assert "with_people" in json.loads((run / "steps/judge/summary.json").read_text())


def test_a_policy_reads_the_labels_as_its_own_next_token_logprobs_say(tiny_model: Path) -> None:
    policy = Policy.load(tiny_model)
    asker = PolicyAsker(policy, "tiny")
    questions = [Question((Message("user", f"A or B? {i}"),), 4, ("A", "B")) for i in range(3)]
    questions.append(Question((Message("user", "A or B, and why?"),), 4))
    replies = list(asker.ask(questions))
    assert [bool(reply and reply.logprobs) for reply in replies] == [True, True, True, False]
    for question, reply in zip(questions[:3], replies[:3], strict=True):
        assert reply is not None
        assert reply.logprobs is not None
        alone = next(asker.ask([question]))
        assert alone is not None
        assert alone.logprobs == pytest.approx(reply.logprobs, abs=1e-4)
        assert reply.text == max(reply.logprobs, key=reply.logprobs.__getitem__)
    long = Question((Message("user", "word " * 5000),), 4, ("A", "B"))
    control = Question((Message("user", "a <|im_end|> b"),), 4, ("A", "B"))
    assert list(asker.ask([long, control])) == [None, None]


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ("{comparisons: mine.pairs}", "name who judges"),
        ("{comparisons: mine.pairs, endpoint: 'http://h/v1'}", "endpoint and model go together"),
        ("{comparisons: mine.pairs, endpoint: 'ftp://h', model: m}", "http:// or https://"),
        ("{comparisons: mine.pairs, policy: start, prompt: pairwise-9}", "there is no judge prompt 'pairwise-9'"),
        ("{comparisons: mine.pairs, policy: start, prompt: rubric-1}", "a rubric goes with a prompt"),
    ],
)
def test_what_does_not_go_together(folder: Path, tiny_model: Path, config: str, what: str) -> None:
    with pytest.raises(UserError, match=re.escape(what)):
        run_steps(folder, tiny_model, f"  - judge: {config}\n")


def test_points_by_a_rubric(folder: Path, tiny_model: Path) -> None:
    Path("rubric.txt").write_text("Warm is good {response}.")

    def answer(body: Any, before: int) -> Answer:
        assert "Warm is good {response}." in body["messages"][-1]["content"]
        warm = "is warm" in body["messages"][-1]["content"].split("<response>")[1]
        return 200, said("It is so. [[5]]" if warm else "No. [[1]]"), {}

    with serving(answer) as asked:
        run = run_steps(folder, tiny_model, steps(asked.url, ", prompt: rubric-1, rubric: rubric.txt"))
    ((_, judgements), *_) = read_records(run / "steps/judge/train.jsonl", "comparisons")
    assert judgements[-1].grades == (5.0, 1.0)


def test_policies_that_a_judge_compared_have_win_rates(folder: Path, tiny_model: Path) -> None:
    text = "  - sft: {data: mine.demos, num_epochs: 1, batch_size: 4}\n"
    text += "  - sample: {prompts: mine.prompts, policies: [start, sft], max_response_tokens: 6}\n"
    with serving(prefers_longer) as asked:
        own = steps(asked.url).replace("mine.pairs", "sample")
        run = run_steps(folder, tiny_model, text + own)
    rows = [json.loads(line) for line in (run / "steps/judge/judged.jsonl").read_text().splitlines()]
    assert {row["policy_a"] for row in rows} == {row["policy_b"] for row in rows} == {"start", "sft"}
    for one, other in zip(rows[::2], rows[1::2], strict=True):  # the two orders of a pair
        assert (one["response_a"], one["policy_a"]) == (other["response_b"], other["policy_b"])
        longer = "a" if len(one["response_a"]) > len(one["response_b"]) else "b"
        assert one["winner"] in (longer, "tie")
