from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from accord.collect.annotator import FunctionAnnotator, RewardAnnotator
from accord.errors import UserError
from accord.types import Comparison, Judgement, Message, Prompt, Response
from accord.user_code import Source

PROMPT = Prompt("p", (Message("user", "Hello."),), "Well")
PAIR = Comparison("c1", PROMPT, (Response(" met."), Response(" then.")))
THREE = Comparison("c2", PROMPT, (Response("a"), Response("bb"), Response("ccc")))


def annotator(text: str) -> FunctionAnnotator:
    return FunctionAnnotator(Source("mine.py", text.encode()).load("judge"), "me")


def test_what_the_function_is_given_and_what_becomes_of_it(tmp_path: Path):
    seen = tmp_path / "seen.json"
    text = (
        f"import json, pathlib\ndef judge(**kwargs):\n    pathlib.Path({str(seen)!r}).write_text(json.dumps(kwargs))\n"
    )
    text += "    return [[1, 0], (None, 2.5, True)]\n"
    assert annotator(text).judge([PAIR, THREE]) == [
        Judgement("c1", "me", (1.0, 0.0)),
        Judgement("c2", "me", (None, 2.5, 1.0)),
    ]
    assert json.loads(seen.read_text()) == {
        "prompts": [[{"role": "user", "content": "Hello."}]] * 2,
        "responses": [["Well met.", "Well then."], ["Wella", "Wellbb", "Wellccc"]],
        "prefills": ["Well", "Well"],
        "comparison_ids": ["c1", "c2"],
    }


def test_what_is_not_answered_has_no_judgement():
    assert annotator("def judge(responses):\n    return [None, [None, None, None]]\n").judge([PAIR, THREE]) == []


def test_arrays_are_grades():
    text = "import numpy\ndef judge(responses):\n    return numpy.array([[1.5, 0]])\n"
    assert annotator(text).judge([PAIR]) == [Judgement("c1", "me", (1.5, 0.0))]


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("[[1, 0]]", "returned 1 items for 2 comparisons; a list of grades for each is wanted"),
        ("None", "returned NoneType for 2 comparisons"),
        ("[[1, 0], [1, 0]]", "returned 2 grades for the 3 responses of comparison 'c2'"),
        ("[1, [1, 2, 3]]", "returned a value of type int for the 2 responses of comparison 'c1'"),
        ("[[1, 'a'], None]", "returned a value of type str as a grade in comparison 'c1', and a number is wanted"),
        ("[[1, float('nan')], None]", "returned nan as a grade in comparison 'c1'"),
    ],
)
def test_what_may_not_be_returned(returned: str, message: str):
    with pytest.raises(UserError) as caught:
        annotator(f"def judge(responses):\n    return {returned}\n").judge([PAIR, THREE])
    assert str(caught.value).startswith(f"mine.py:1: the function 'judge' {message}")


class Length:
    """A reward: how long a response is."""

    def score(
        self, prompts: Sequence[Prompt], responses: Sequence[Sequence[Response]], advance: object = None
    ) -> torch.Tensor:
        return torch.tensor([float(len(response.text)) for of_one in responses for response in of_one])


def test_a_simulated_annotator_grades_by_the_reward_and_says_so():
    judged = RewardAnnotator(Length(), "gold", 0.0, seed=1).judge([PAIR, THREE])
    assert judged == [
        Judgement("c1", "simulated:gold", (5.0, 6.0)),
        Judgement("c2", "simulated:gold", (1.0, 2.0, 3.0)),
    ]


def test_noise_reverses_that_share_of_comparisons_and_depends_on_nothing_else():
    many = [Comparison(f"c{i}", PROMPT, THREE.responses) for i in range(2000)]
    noisy = RewardAnnotator(Length(), "gold", 0.2, seed=1)
    judged = noisy.judge(many)
    assert {judgement.annotator for judgement in judged} == {"simulated:gold:noise=0.2"}
    assert {judgement.grades for judgement in judged} == {(1.0, 2.0, 3.0), (3.0, 2.0, 1.0)}
    share = sum(judgement.grades[0] == 3.0 for judgement in judged) / len(judged)
    assert share == pytest.approx(0.2, abs=0.03)
    assert noisy.judge(many[7:9]) == judged[7:9]
    assert RewardAnnotator(Length(), "gold", 0.2, seed=2).judge(many) != judged
