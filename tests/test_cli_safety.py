from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from accord.cli import app
from tests.collect.test_judge import said
from tests.fixtures.http_server import Answer, Asked, serving

NO, YES = "I'm sorry, but I cannot help with that.", "Sure, here is how."
NOWHERE = ("--endpoint", "http://127.0.0.1:9/v1", "--model", "m")
COLUMNS = "prompt,completion,label,outcome\n"


def accord(*arguments: str, status: int = 0) -> str:
    found = CliRunner().invoke(app, ["eval", "safety", *arguments], catch_exceptions=False)
    assert found.exit_code == status, found.output
    return " ".join((found.output if status else found.stdout).split())


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """one.csv complies with one of four unsafe prompts, and refuses one of four safe ones; two.csv with all."""
    monkeypatch.chdir(tmp_path)
    rows = [("bad0", YES, "unsafe"), *((f"bad{i}", NO, "unsafe") for i in (1, 2, 3))]
    rows += [("good0", NO, "safe"), *((f"good{i}", YES, "safe") for i in (1, 2, 3))]
    write("one.csv", rows)
    write("two.csv", [(prompt, YES, label) for prompt, _, label in rows])
    return tmp_path


def write(name: str, rows: list[tuple[str, str, str]]) -> None:
    lines = [f'{prompt},"{text}",{label},{"refusal" if text == NO else "compliance"}\n' for prompt, text, label in rows]
    Path(name).write_text(COLUMNS + "".join(lines))


def test_violations_and_false_refusals_together() -> None:
    found = json.loads(accord("one.csv", "--json"))["results"]["one.csv"]
    assert (found["violation_rate"]["value"], found["false_refusal_rate"]["value"]) == (0.25, 0.25)
    assert found["violation_rate"]["low"] < 0.25 < found["violation_rate"]["high"]
    assert found["error"]["accuracy"]["value"] == 1.0
    people = json.loads(accord("one.csv", "--by", "people", "--json"))["results"]["one.csv"]
    assert (people["by"], people["violation_rate"]["value"]) == ("people", 0.25)
    text = accord("one.csv")
    assert "unsafe prompts complied with (violations): 25.0%" in text
    assert "it sees 100.0%" in text


def test_two_files_are_compared_on_the_same_prompts() -> None:
    found = json.loads(accord("one.csv", "two.csv", "--json"))["compared"]
    assert found["unsafe"] == {"num": 4, "only_first": 3, "only_second": 0, "p_value": 0.25}
    assert found["safe"] == {"num": 4, "only_first": 0, "only_second": 1, "p_value": 1.0}
    assert "McNemar's exact p = 0.25" in accord("one.csv", "two.csv")


def test_a_policy_answers_once(tiny_model: Path) -> None:
    asked = ("--policy", str(tiny_model), "--prompts", "one.csv", "--out", "said", "--max-response-tokens", "4")
    assert "of 3" in accord(*asked, "--limit", "3")
    (path,) = Path("said").iterdir()
    assert len(path.read_text().splitlines()) == 3
    accord(*asked, "--json")
    assert len(path.read_text().splitlines()) == 8
    assert "of other weights, or of another length" in accord(*asked[:-1], "5", status=2)


TALK = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]


def test_a_conversation_is_read_whole(tiny_model: Path) -> None:
    """By the policy, in process and behind an endpoint, and by the judge; and two that end alike are two."""
    ends = [[*TALK, {"role": "user", "content": "How?"}], [{"role": "user", "content": "How?"}]]
    rows = [{"prompt": turns, "label": "unsafe"} for turns in ends]
    Path("talks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = ("--prompts", "talks.jsonl", "--out", "said", "--max-response-tokens", "4", "--json")

    def answer(body: Any, before: int) -> Answer:
        return 200, said("3" if "User:" in body["messages"][-1]["content"] else NO), {}

    with serving(answer) as asked:
        url = asked.url.removesuffix("/score")
        judge = ("--by", "judge", "--endpoint", url, "--model", "m")
        accord("--policy", url, "--policy-model", "wise", *given, *judge)
        own = [body["messages"] for body in asked.bodies if body["model"] == "wise"]
        judged = [body["messages"][-1]["content"] for body in asked.bodies if body["model"] == "m"]
    assert sorted(own, key=len, reverse=True) == ends
    assert any("User: Hi.\n\nAssistant: Hello.\n\nUser: How?" in text for text in judged)
    found = json.loads(accord("--policy", str(tiny_model), *given))["results"][str(tiny_model)]
    assert found["unsafe"]["num"] == 2
    Path("talks.jsonl").write_text(json.dumps({"prompt": [*TALK, {"role": "who"}], "label": "unsafe"}) + "\n")
    assert "talks.jsonl:1:prompt[2].role" in accord("--policy", str(tiny_model), *given[:4], status=2)


def test_prompts_without_room_are_unknown(tiny_model: Path) -> None:
    write("long.csv", [("word " * 300, YES, "safe"), ("short", YES, "safe")])
    asked = ("--policy", str(tiny_model), "--prompts", "long.csv", "--out", "said", "--max-response-tokens", "4")
    (found,) = json.loads(accord(*asked, "--json"))["results"].values()
    assert (found["safe"]["num"], found["safe"]["num_unknown"]) == (1, 1)
    write("long.csv", [("word " * 300, YES, "safe")])
    assert "and the model reads at most 256" in accord(*asked, status=2)


def test_what_nobody_could_decide_is_not_what_is_missing() -> None:
    with serving(lambda body, _: (200, said("?"), {})) as asked:
        url = asked.url.removesuffix("/score")
        text = accord("one.csv", "--by", "judge", "--endpoint", url, "--model", "m")
    assert "of no unsafe prompt it is known what was done" in text
    assert "there is no" not in text


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ((), "one or two are measured at a time"),
        (("one.csv", "two.csv", "one.csv"), "one or two are measured at a time"),
        (("one.csv", "one.csv"), "each once"),
        (("one.csv", "--style", "judge"), "--endpoint"),
        (
            ("one.csv", "--style", "judge", "--scoring", "harmbench", *NOWHERE),
            "nobody is asked how refusals are written",
        ),
        (("nobody.csv", "--by", "people"), "nobody.csv: people have not said of any response"),
        (("one.csv", "--policy", "x"), "its responses are kept"),
        (("none.csv",), "none.csv"),
        (("plain.csv",), "of no prompt it is said"),
        (("wrong.csv",), "wrong.csv:2:outcome: outcome 'perhaps' is none of"),
        (("prompts.csv",), "the file holds no responses"),
        (("one.csv", "--by", "classifier", "--labelled", "plain.csv"), "no labelled responses to learn from"),
    ],
)
def test_what_does_not_fit_is_said(arguments: tuple[str, ...], what: str) -> None:
    Path("plain.csv").write_text("prompt,completion\na,b\n")
    Path("nobody.csv").write_text("prompt,completion,label\na,b,safe\n")
    Path("wrong.csv").write_text(COLUMNS + "a,b,safe,perhaps\n")
    Path("prompts.csv").write_text("prompt,label\na,safe\n")
    assert what in accord(*arguments, status=2)


def test_a_type_that_says_safe_or_unsafe_is_taken_at_its_word() -> None:
    rows = [{"prompt": kind, "completion": YES, "type": kind} for kind in ("unsafe", "safe", "contrast_x", "x")]
    Path("types.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = json.loads(accord("types.jsonl", "--json"))["results"]["types.jsonl"]
    assert (found["unsafe"]["num"], found["safe"]["num"]) == (2, 2)


def test_a_model_decides_and_is_asked_once() -> None:
    def answer(body: Any, before: int) -> Answer:
        return 200, said("3" if NO in body["messages"][-1]["content"] else "1"), {}

    with serving(answer) as asked:
        judge = (
            "one.csv",
            "--by",
            "judge",
            "--endpoint",
            asked.url.removesuffix("/score"),
            "--model",
            "wise",
            "--json",
        )
        found = json.loads(accord(*judge))["results"]["one.csv"]
        num = len(asked.bodies)
        assert num == 8
        assert json.loads(accord(*judge))["results"]["one.csv"] == found
        assert len(asked.bodies) == num
    assert (found["by"], found["violation_rate"]["value"]) == ("judge:wise:refusal-2", 0.25)
    assert found["error"]["accuracy"]["value"] == 1.0
    assert "a judge is a model behind an endpoint" in accord("one.csv", "--by", "judge", status=2)


def styled(body: Any, before: int) -> Answer:
    lines = "urgent: 0\ndeclines: 1\nexplains: 1\nalternatives: 0\ninvites: 0\nlectures: 0"
    assert "<request>" in body["messages"][-1]["content"], "phrases say what refuses, and the judge how alone"
    return 200, said(lines), {}


def test_how_refusals_are_written_by_phrases_and_by_a_judge() -> None:
    found = json.loads(accord("one.csv", "--json"))["results"]["one.csv"]
    (phrases,) = found["refusal_style"]
    assert (phrases["by"], phrases["num"], phrases["elements"]["declines"]["value"]) == ("style-phrases-1", 4, 1.0)
    with serving(styled) as asked:
        text = accord("one.csv", "--style", "judge", *judge_at(asked))
        assert len(asked.bodies) == len({body["messages"][-1]["content"] for body in asked.bodies}) == 4
    assert "how the 4 responses that refuse do so, by style-phrases-1:" in text
    assert "by judge:wise:refusal-style-1: speaks to an immediate danger 0.0%" in text
    assert "explains why 100.0% (51.0% to 100.0%)" in text
    assert "refusal_style" in accord("two.csv", "--json")
    assert "how the" not in accord("two.csv"), "nothing there refuses"


def judge_at(asked: Asked) -> tuple[str, ...]:
    return ("--endpoint", asked.url.removesuffix("/score"), "--model", "wise")


def harmful_if_sure(body: Any, before: int) -> Answer:
    return 200, said("yes" if YES in body["messages"][-1]["content"] else "no"), {}


def test_attack_success_of_two_files() -> None:
    with serving(harmful_if_sure) as asked:
        given = ("one.csv", "two.csv", "--scoring", "harmbench", *judge_at(asked))
        found = json.loads(accord(*given, "--json"))
        assert len(asked.bodies) == 7  # of one.csv four, of two.csv the three that differ
        text = accord(*given)
        assert len(asked.bodies) == 7
    assert [one["attack_success_rate"]["value"] for one in found["results"].values()] == [0.25, 1.0]
    assert found["results"]["one.csv"]["num_safe"] == 4
    assert found["compared"] == {"num": 4, "only_first": 3, "only_second": 0, "p_value": 0.25}
    assert found["error"] is None
    assert "attacks that succeed: 25.0%" in text
    assert "left out: 4 to safe prompts" in text
    assert "only one.csv resists 3" in text
    assert "is not known" in text


def test_strongreject_beside_people() -> None:
    Path("labelled.jsonl").write_text('{"prompt": "p", "completion": "x", "harmful": 0.5}\n')

    def answer(body: Any, before: int) -> Answer:
        text = "refused: 0\nconvincing: 3\nspecific: 4" if NO not in body["messages"][-1]["content"] else "refused: 1"
        return 200, said(text), {}

    with serving(answer) as asked:
        given = ("one.csv", "--scoring", "strongreject", "--labelled", "labelled.jsonl", *judge_at(asked))
        found = json.loads(accord(*given, "--json"))
        assert "what the responses are worth to an attacker, 0 to 1: 15.6%" in accord(*given)
    assert found["results"]["one.csv"]["strongreject"]["value"] == 0.625 / 4
    assert found["error"]["absolute_error"]["value"] == 0.125


def test_a_policy_behind_an_endpoint_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stops after three answers, declines one prompt, and says its key is right."""
    monkeypatch.setenv("POLICY_KEY", "secret")

    def answer(body: Any, before: int) -> Answer:
        if before == 3:
            return 401, {}, {}
        return (400, {}, {}) if body["messages"][-1]["content"] == "bad3" else (200, said(NO), {})

    with serving(answer) as asked:
        url = asked.url.removesuffix("/score")
        given = ("--policy", url, "--policy-model", "wise", "--policy-key-env", "POLICY_KEY", "--prompts", "one.csv")
        given = (*given, "--out", "said", "--json")
        assert "answered 401" in accord(*given, status=2)
        num = len(asked.bodies)
        found = json.loads(accord(*given))["results"]
        again = json.loads(accord(*given))["results"]
        assert found == again
        prompts = [body["messages"][-1]["content"] for body in asked.bodies]
        assert {body["max_tokens"] for body in asked.bodies} == {512}
        assert {headers["Authorization"] for headers in asked.headers} == {"Bearer secret"}
    (name,) = found
    assert name == f"wise@{url.removeprefix('http://').partition('/')[0]}"
    assert (found[name]["unsafe"]["num"], found[name]["unsafe"]["num_unknown"]) == (3, 1)
    assert (found[name]["violation_rate"]["value"], found[name]["false_refusal_rate"]["value"]) == (0.0, 1.0)
    assert prompts[num:].count("bad3") == 2  # what was declined is asked again
    assert all(prompts.count(f"good{i}") <= 2 for i in range(4))
    assert len(set(prompts[num:])) + 1 == len(prompts[num:])


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("--policy", "http://h/v1"), "has a --policy-model"),
        (("--policy", "http://h/v1", "--policy-model", "m", "--prompts", "plain.csv"), "of no prompt it is said"),
        (("--policy", "http://h/v1", "--policy-model", "m", "--scoring", "harmbench"), "or a policy of your own"),
        (("--policy", "x", "--policy-model", "wise"), "has a --policy-model"),
        (("--policy", "http://a@h/v1", "--policy-model", "m"), "holds a name or a password"),
        (("one.csv", "--scoring", "harmbench"), "or a policy of your own"),
        (("one.csv", "--by", "judge", "--endpoint", "http://h/v1"), "or a policy of your own"),
        (("one.csv", "--by", "judge", "--judge", "m", "--model", "m"), "or a policy of your own"),
    ],
)
def test_who_answers_and_who_judges(arguments: tuple[str, ...], what: str) -> None:
    Path("plain.csv").write_text("prompt\na\n")
    more = ("--out", "said") if arguments[0] == "--policy" else ()
    more += ("--prompts", "one.csv") if more and "--prompts" not in arguments else ()
    assert what in accord(*arguments, *more, status=2)


def test_a_policy_of_ones_own_judges_and_is_asked_once(tiny_model: Path) -> None:
    own = "mode: choice\nuser: '{response}?'\nchoices: {'a': 1, 'b': 0}\n"
    Path("own.yaml").write_text(own)
    given = ("one.csv", "--scoring", "harmbench", "--judge", str(tiny_model), "--prompt", "own.yaml", "--json")
    found = json.loads(accord(*given))
    (log,) = Path("accord-store/judge-answers").iterdir()
    assert len(log.read_text().split()) > 0
    before = log.read_bytes()
    assert json.loads(accord(*given)) == found
    assert log.read_bytes() == before
    assert found["results"]["one.csv"]["n"] == 4
