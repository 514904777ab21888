from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from accord.collect.annotator import FunctionAnnotator
from accord.collect.simulated import RewardAnnotator, SafetyLabels, by_strength
from accord.errors import UserError
from accord.models.scalar import Normalisation
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

    normalisation = Normalisation(offset=0.0, gain=1.0)

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


class Short:
    """A reward, stored with an offset and a gain: raw it is 1 for a response of at most two characters, else 0."""

    normalisation = Normalisation(offset=1.0, gain=-3.0)

    def score(
        self, prompts: Sequence[Prompt], responses: Sequence[Sequence[Response]], advance: object = None
    ) -> torch.Tensor:
        raw = torch.tensor([float(len(response.text) <= 2) for of_one in responses for response in of_one])
        return -3.0 * (raw - 1.0)


def test_a_simulated_annotator_labels_what_is_safe_and_says_by_whom():
    by = SafetyLabels(Short(), "rule", "probability", threshold=0.5, noise=0.0)
    judged = RewardAnnotator(Length(), "gold", 0.0, seed=1, safety=by).judge([PAIR, THREE])
    assert judged == [
        Judgement("c1", "simulated:gold:safety=rule", (5.0, 6.0), (False, False)),
        Judgement("c2", "simulated:gold:safety=rule", (1.0, 2.0, 3.0), (True, True, False)),
    ]
    logit = SafetyLabels(Short(), "rule", "logit", threshold=0.5, noise=0.0)  # sigmoid(0) is not below 0.5
    assert RewardAnnotator(Length(), "gold", 0.0, seed=1, safety=logit).judge([PAIR])[0].safe == (True, True)


def test_noise_turns_that_share_of_the_labels_round_and_no_grade():
    many = [Comparison(f"c{i}", PROMPT, THREE.responses) for i in range(1000)]
    noisy = SafetyLabels(Short(), "rule", "probability", threshold=0.5, noise=0.1)
    annotator = RewardAnnotator(Length(), "gold", 0.0, seed=1, safety=noisy)
    judged = annotator.judge(many)
    assert {judgement.annotator for judgement in judged} == {"simulated:gold:safety=rule:safety_noise=0.1"}
    assert {judgement.grades for judgement in judged} == {(1.0, 2.0, 3.0)}
    turned = [label != right for one in judged for label, right in zip(one.safe, (True, True, False), strict=True)]
    assert sum(turned) / len(turned) == pytest.approx(0.1, abs=0.02)
    assert annotator.judge(many[7:9]) == judged[7:9]


@pytest.mark.parametrize(
    ("scores", "grades"),
    [
        ((0.0, 0.0), [0.0, 0.0]),
        ((0.0, 0.4), [0.0, 1.0]),
        ((0.0, 0.5), [0.0, 2.0]),
        ((2.5, 1.5), [3.0, 0.0]),
        ((-4.0, 4.0), [0.0, 4.0]),
    ],
)
def test_grades_by_strength_are_those_of_people(scores: tuple[float, float], grades: list[float]):
    assert by_strength(scores, (0.5, 1.0, 2.0)) == grades


def test_strengths_of_a_reversed_comparison_keep_their_size():
    many = [Comparison(f"c{i}", PROMPT, PAIR.responses) for i in range(40)]
    judged = RewardAnnotator(Length(), "gold", 0.5, seed=1, gaps=(0.5, 1.0, 2.0)).judge(many)
    assert {judgement.grades for judgement in judged} == {(0.0, 3.0), (3.0, 0.0)}
