"""A scripted endpoint, whose answers are known, and what becomes of them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from accord.collect.answer_log import AnswerLog, Reply
from accord.collect.askers import EndpointAsker, Question, RememberingAsker
from accord.collect.judge import JudgeAnnotator, Verdict, from_verdicts
from accord.collect.judge_prompts import judge_prompt
from accord.collect.judge_quality import in_both_orders, judge_alarms, with_people
from accord.collect.reading import answer_of, points_of
from accord.errors import UserError
from accord.rewards.http_json import Server
from accord.types import Comparison, Judgement, Message, Prompt, Response
from tests.fixtures.http_server import Answer, Asked, serving

PAIRWISE, EXPLAINED, POINTS = (judge_prompt(name) for name in ("pairwise-1", "pairwise-explained-1", "points-1"))


def comparison(number: int, *texts: str) -> Comparison:
    return Comparison(f"c{number}", Prompt(f"c{number}", (Message("user", "Hi?"),)), tuple(map(Response, texts)))


def said(text: str, logprobs: dict[str, float] | None = None) -> dict[str, Any]:
    rows = [{"token": token, "logprob": value} for token, value in (logprobs or {}).items()]
    given = {"content": [{"token": text[:1], "logprob": 0.0, "top_logprobs": rows}]} if rows else None
    return {"choices": [{"message": {"role": "assistant", "content": text}, "logprobs": given}]}


def responses_in(body: Any) -> tuple[str, str]:
    found = re.findall(r"<response [AB]>\n(.*?)\n</response", body["messages"][-1]["content"], re.DOTALL)
    return found[0], found[1]


def prefers_longer(body: Any, before: int) -> Answer:
    first, second = responses_in(body)
    return 200, said("A" if len(first) > len(second) else "B"), {}


@contextmanager
def judging(answer: Any, folder: Path, named: Any = PAIRWISE, **more: Any) -> Iterator[tuple[JudgeAnnotator, Asked]]:
    with serving(answer) as asked:
        server = Server(asked.url, retries=0)
        yield JudgeAnnotator(EndpointAsker(server, "wise", AnswerLog(folder / "log.jsonl"), **more), named), asked


def test_each_pair_is_asked_in_both_orders_and_the_better_one_wins(tmp_path: Path) -> None:
    with judging(prefers_longer, tmp_path) as (judge, asked):
        (found,) = judge.judge([comparison(1, "short", "much longer")])
    assert found == Judgement("c1", "judge:wise:pairwise-1", (0.0, 1.0))
    assert sorted(responses_in(body) for body in asked.bodies) == [("much longer", "short"), ("short", "much longer")]
    assert {(body["temperature"], body["logprobs"], body["top_logprobs"]) for body in asked.bodies} == {(0, True, 20)}


def test_a_judge_that_always_names_one_place_gives_ties(tmp_path: Path) -> None:
    with judging(lambda body, _: (200, said("A"), {}), tmp_path) as (judge, _):
        comparisons = [comparison(i, f"one {i}", f"two {i}") for i in range(3)]
        verdicts = judge.verdicts(comparisons)
    assert [one.outcome for one in verdicts] == [0.5] * 3
    assert [one.grades for one in from_verdicts("j", comparisons, verdicts)] == [(0.5, 0.5)] * 3
    found = in_both_orders(verdicts, seed=1)
    assert (found["flip_rate"]["value"], found["first_place"]["value"], found["ties"]) == (1.0, 1.0, 1.0)
    assert [one.name for one in judge_alarms(found)] == ["place"]
    people = {"num_pairs": 9, "agreement": {"value": 0.9, "low": 0.7, "high": 1.0}}
    assert judge_alarms({"flip_rate": {"value": 0.2, "low": 0.1, "high": 0.4}, "with_people": people}) == []


def test_the_probabilities_of_the_labels_are_read_and_averaged_over_the_orders(tmp_path: Path) -> None:
    """P(A) is .6 and P(B) .3 in the first place, the rest is a tie; in the other order it is .2 to .7."""

    def answer(body: Any, before: int) -> Answer:
        shares = {"A": 0.4, " A": 0.2, "B": 0.3, "C": 0.1} if responses_in(body)[0] == "x" else {"A": 0.2, "B": 0.7}
        return 200, said("?", {token: math.log(share) for token, share in shares.items()}), {}

    with judging(answer, tmp_path) as (judge, _):
        (verdict,) = judge.verdicts([comparison(1, "x", "y")])
    forward, backward = 0.6 + 0.1 / 2, 0.2 / 0.9
    assert verdict.probability == pytest.approx((forward + 1 - backward) / 2)
    assert (verdict.forward, verdict.backward) == (1.0, 1.0)


def test_of_more_responses_each_gets_its_wins(tmp_path: Path) -> None:
    with judging(prefers_longer, tmp_path) as (judge, asked):
        (found,) = judge.judge([comparison(1, "aaa", "a", "aa", "a")])
    assert found.grades == (3.0, 0.5, 2.0, 0.5)
    assert len(asked.bodies) == 6  # equal texts are not asked about, and nothing is asked twice


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    with judging(lambda body, _: (200, said("Well, both are fine."), {}), tmp_path) as (judge, _):
        assert judge.judge([comparison(1, "x", "y")]) == []


def test_an_endpoint_that_refuses_logprobs_is_asked_without(tmp_path: Path) -> None:
    def answer(body: Any, before: int) -> Answer:
        return (400, {"error": "no logprobs"}, {}) if "logprobs" in body else prefers_longer(body, before)

    with judging(answer, tmp_path, concurrent=1) as (judge, asked):
        (found,) = judge.judge([comparison(1, "x", "yy")])
    assert found.grades == (0.0, 1.0)
    assert ["logprobs" in body for body in asked.bodies] == [True, False, False]


def test_a_model_that_wants_the_newer_limit_keeps_its_logprobs(tmp_path: Path) -> None:
    def newer(body: Any, before: int) -> Answer:
        if "max_tokens" in body:
            return 400, {"error": {"message": "Use 'max_completion_tokens' instead of 'max_tokens'."}}, {}
        return prefers_longer(body, before)

    with serving(newer) as newly:
        log = AnswerLog(tmp_path / "log.jsonl")
        judge = JudgeAnnotator(EndpointAsker(Server(newly.url, retries=0), "newly", log, 1), PAIRWISE)
        assert [one.grades for one in judge.judge([comparison(i, "x", "yy" * i) for i in (1, 2)])] == [(0.0, 1.0)] * 2
        judge.judge([comparison(1, "x", "yy")])
    assert ["max_tokens" in body for body in newly.bodies] == [True, False, False, False, False]
    assert all(body["logprobs"] for body in newly.bodies)


def test_a_judge_that_died_is_not_paid_twice(tmp_path: Path) -> None:
    comparisons = [comparison(i, f"a{i}", f"bb{i}") for i in range(4)]

    def dies(body: Any, before: int) -> Answer:
        return prefers_longer(body, before) if before < 5 else (503, {}, {})

    with judging(dies, tmp_path, concurrent=1) as (judge, asked), pytest.raises(UserError, match="answered 503"):
        judge.judge(comparisons)
    url = asked.url
    with (tmp_path / "log.jsonl").open("ab") as torn:
        torn.write(b'{"key": "torn')
    log = AnswerLog(tmp_path / "log.jsonl")
    assert len(log._known) == 5

    class Counting:
        """The same server, come back at the same address."""

        num = 0

        def ask(self, body: Any, stop: Any) -> Any:
            self.num += 1
            return prefers_longer(body, 0)[1]

        place = url

    server = Counting()
    judge = JudgeAnnotator(EndpointAsker(server, "wise", log, 1), PAIRWISE)  # type: ignore[arg-type]
    assert [one.grades for one in judge.judge(comparisons)] == [(0.0, 1.0)] * 4
    assert server.num == 3
    assert [one.grades for one in judge.judge(comparisons)] == [(0.0, 1.0)] * 4
    assert server.num == 3


def test_points(tmp_path: Path) -> None:
    def answer(body: Any, before: int) -> Answer:
        text = re.findall(r"<response>\n(.*?)\n</response>", body["messages"][-1]["content"])[0]
        return 200, said(str(len(text))), {}

    with judging(answer, tmp_path, POINTS) as (judge, _):
        found = judge.judge([comparison(1, "aaa", "a", "a" * 11), comparison(2, "b" * 12, "b" * 20)])
    assert found == [Judgement("c1", "judge:wise:points-1", (3.0, 1.0, None))]


@pytest.mark.parametrize(
    ("named", "text", "verdict"),
    [
        (PAIRWISE, "A", 1.0),
        (PAIRWISE, " (B) because", 0.0),
        (PAIRWISE, "**C**", 0.5),
        (PAIRWISE, "Apples", None),
        (PAIRWISE, "", None),
        (EXPLAINED, "I would say [[A]]. But no: [[B]]", 0.0),
        (EXPLAINED, "A", None),
    ],
)
def test_verdicts_are_read_from_text(named: Any, text: str, verdict: float | None) -> None:
    found = answer_of(named.prompt, Reply(text))
    assert (None if found is None else found.number) == verdict


@pytest.mark.parametrize(("text", "points"), [("7", 7.0), ("10/10", 10.0), ("0", None), ("11", None), ("seven", None)])
def test_points_are_read_from_text(text: str, points: float | None) -> None:
    assert points_of(POINTS.prompt, Reply(text)) == points


def test_a_pattern_that_takes_for_ever_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accord.collect.reading.REGEX_SECONDS", 0.05)
    slow = PAIRWISE.prompt.model_copy(update={"verdict": "^(a|aa)+$"})
    assert answer_of(slow, Reply("a" * 60 + "!")) is None


def test_a_text_with_braces_fills_in_nothing() -> None:
    messages = PAIRWISE.prompt.messages(conversation="{first}", first="{second}", second="x", rubric="")
    assert "<conversation>\n{first}\n</conversation>" in messages[-1].content
    assert "<response A>\n{second}\n</response A>" in messages[-1].content


def test_prompts_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("mode: pairwise\nuser: '{first} or {second}?'\nlabels: {first: '1', second: '2'}\n")
    named = judge_prompt(str(own))
    assert re.fullmatch(r"own@[0-9a-f]{8}", named.name)
    found = answer_of(named.prompt, Reply("2"))
    assert found is not None
    assert (found.number, found.expected) == (0.0, None)
    for text, what in {
        "mode: pairwise\nuser: '{first}'\nlabels: {first: a, second: b}": "lacks the place {second}",
        "mode: points\nuser: '{response}'": f"{own}: points go with `mode: points`",
        "mode: points\nuser: '{response}'\npoints: [3, 2]": "the least and then the most",
        "mode: choice\nuser: '{response}'\nchoices: {a: 1}": "choices",
        "mode: choice\nuser: '{response}'\nchoices: {a: 1, b: 2}\nvalue: expected": "goes with `mode: points`",
        "mode: scores\nuser: '{response}'\nscores: {a: [0, 1]}\nverdict: '(1)'": "take no verdict",
        "mode: points\nuser: '{response}'\npoints: [1, 2]\nverdict: '(': 3": "not YAML",
        "mode: points\nuser: '{response}'\npoints: [1, 2]\nverdict: '\\d'": "exactly one group",
        "mode: other": "mode",
    }.items():
        own.write_text(text)
        with pytest.raises(UserError, match=re.escape(what)):
            judge_prompt(str(own))
    with (
        pytest.raises(UserError, match="strongreject-1 gives several scores, and no grade"),
        judging(prefers_longer, tmp_path, judge_prompt("strongreject-1")),
    ):
        pass
    with pytest.raises(UserError, match="there is no judge prompt 'pairwise-2'"):
        judge_prompt("pairwise-2")


def test_agreement_with_people_by_hand() -> None:
    """Of four pairs that people ordered the judge has two right, one wrong and one tied; people tied the fifth."""
    people = [(1, 0), (0, 1), (1, 0), (3, 2), (1, 1)]
    judge = [(1, 0), (0, 1), (0, 1), (0.5, 0.5), (1, 0)]
    records = [(comparison(i, "x", "y"), (Judgement(f"c{i}", "p", pair),)) for i, pair in enumerate(people)]
    found = with_people(records, [Judgement(f"c{i}", "j", pair) for i, pair in enumerate(judge)], seed=1)
    assert found is not None
    assert (found.num_pairs, found.agreement.value) == (4, pytest.approx(2.5 / 4))
    assert found.agreement.low < 0.625 < found.agreement.high
    # p_a = 2/5; told both ways, both are 2/5, 2/5, 1/5 for first, second, neither: p_e = 9/25.
    assert found.kappa == pytest.approx((2 / 5 - 9 / 25) / (1 - 9 / 25))


def test_in_a_file_with_the_better_one_always_first_agreement_is_still_above_chance() -> None:
    """Three of four right: without ties kappa is 2 * 3/4 - 1."""
    records = [(comparison(i, "x", "y"), (Judgement(f"c{i}", "p", (1, 0)),)) for i in range(4)]
    judged = [Judgement(f"c{i}", "j", (1, 0) if i else (0, 1)) for i in range(4)]
    found = with_people(records, judged, seed=1)
    assert found is not None
    assert (found.agreement.value, found.kappa) == (0.75, pytest.approx(0.5))


def test_a_flip_is_a_tie() -> None:
    verdicts = [Verdict("c1", 0, 1, 1.0, 1.0), Verdict("c2", 0, 1, 1.0, 0.0), Verdict("c3", 0, 1, 0.5, 0.5)]
    found = in_both_orders(verdicts, seed=1)
    assert found["flip_rate"]["value"] == pytest.approx(1 / 3)
    assert found["ties"] == pytest.approx(2 / 3)
    assert found["first_place"]["value"] == pytest.approx((0.5 + 1.0 + 0.5) / 3)


def test_a_question_that_is_declined_has_no_answer_and_the_others_do(tmp_path: Path) -> None:
    def answer(body: Any, before: int) -> Answer:
        return (413, {}, {}) if "too long" in responses_in(body) else prefers_longer(body, before)

    comparisons = [comparison(1, "too long", "y"), comparison(2, "x", "yy")]
    with judging(answer, tmp_path, skip_declined=True) as (judge, _):
        assert [one.comparison_id for one in judge.judge(comparisons)] == ["c2"]
    with judging(answer, tmp_path) as (judge, _), pytest.raises(UserError, match="answered 413") as caught:
        judge.judge(comparisons)  # what is published shall not lack it unasked
    assert "skip_declined: true" in caught.value.remedy


def test_where_all_is_declined_the_reason_is_told(tmp_path: Path) -> None:
    with (
        judging(lambda body, _: (400, {"error": "no such model"}, {}), tmp_path, skip_declined=True) as (judge, _),
        pytest.raises(UserError, match="no such model"),
    ):
        judge.judge([comparison(1, "x", "yy")])


def test_what_a_policy_of_ones_own_answered_is_not_asked_again(tmp_path: Path) -> None:
    """Repeated questions are asked once, and those without an answer each time."""
    asked: list[str] = []

    class Own:
        name = "own"

        def ask(self, questions: Any) -> Iterator[Reply | None]:
            for question in questions:
                text = question.messages[0].content
                asked.append(text)
                yield None if text == "no" else Reply(text, {"A": -1.0})

    questions = [Question((Message("user", text),), 8) for text in ("a", "no", "b", "a", "no")]
    for num in (3, 4):
        log = AnswerLog(tmp_path / "log.jsonl")
        found = list(RememberingAsker(Own(), "weights", log).ask(questions))
        assert [one and one.text for one in found] == ["a", None, "b", "a", None]
        assert len(asked) == num
    list(RememberingAsker(Own(), "other weights", log).ask(questions[:1]))
    assert asked[4:] == ["a"]
