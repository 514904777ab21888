from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from accord.data.derive import derive_ranking, margin_levels
from accord.engine.ranking.config import RankingConfig
from accord.labels.answers import GRADES, Answer, check, judgement
from accord.labels.refusals import Unfit
from accord.types import Comparison, Message, Prompt, Response


def check_it(answer: Answer, num: int = 2, strengths: bool = True, safety: bool = False) -> None:
    check(answer, num, strengths=strengths, safety=safety, flags=["odd"])


@pytest.mark.parametrize(
    "answer",
    [
        Answer(ranks=[1, 2], strength="better"),
        Answer(ranks=[2, 1], strength="negligibly", flags=["odd"], comment="both are short"),
        Answer(ranks=[1, 1]),
    ],
)
def test_answers_that_fit(answer: Answer) -> None:
    check_it(answer)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Answer(ranks=[1, 2, 3]), "3 ranks were sent for 2 responses"),
        (Answer(ranks=[1, 3], strength="better"), "a rank is a number from 1 to 2"),
        (Answer(ranks=[1, None]), "at least two responses must be compared"),
        (Answer(ranks=[1, 2]), "say by how much"),
        (Answer(ranks=[1, 1], strength="better"), "a strength is for one of two"),
        (Answer(ranks=[1, 2], strength="better", safe=[True, True]), "2 labels of safety were sent, and none wanted"),
        (Answer(ranks=[1, 2], strength="better", flags=["even"]), "not among the campaign's flags: even"),
        (Answer(ranks=[1, 2], strength="better", flags=["odd", "odd"]), "a flag was sent twice"),
    ],
)
def test_answers_that_do_not_fit_are_refused_with_the_reason(answer: Answer, why: str) -> None:
    with pytest.raises(Unfit, match=why):
        check_it(answer)


def test_what_a_campaign_asks_for_must_be_answered_and_nothing_else() -> None:
    check_it(Answer(ranks=[1, 2]), strengths=False)
    check_it(Answer(ranks=[1, 1], safe=[True, False]), safety=True)
    check_it(Answer(ranks=[1, 1, None]), num=3)
    with pytest.raises(Unfit, match="where the campaign asks for it"):
        check_it(Answer(ranks=[1, 2], strength="better"), strengths=False)
    with pytest.raises(Unfit, match="0 labels of safety were sent, and 2 wanted"):
        check_it(Answer(ranks=[1, 1]), safety=True)
    with pytest.raises(Unfit, match="say of each response"):
        check_it(Answer(ranks=[1, 1], safe=[True, None]), safety=True)
    with pytest.raises(Unfit, match="a strength is for one of two"):
        check_it(Answer(ranks=[1, 2, 3], strength="better"), num=3)


def test_unknown_fields_and_endless_comments_are_refused() -> None:
    for wrong in ({"ranks": [1, 2], "rank": 1}, {"ranks": [1, 2], "comment": "a" * 10_001}, {"ranks": [True, 2]}):
        with pytest.raises(ValidationError):
            Answer.model_validate(wrong)


@pytest.mark.parametrize("strength", list(GRADES))
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_strength_has_the_margin_of_its_level(strength: str, order: tuple[int, int]) -> None:
    """The second response on the screen is better. Llama 2's table, at the defaults of the reward model."""
    answer = Answer(ranks=[2, 1], strength=strength)  # type: ignore[arg-type]
    comparison = Comparison("c", Prompt("c", (Message("user", "Hi."),)), (Response("a"), Response("b")))
    levels = margin_levels("large", RankingConfig().margin_thresholds)
    ranking = derive_ranking(comparison, [judgement(answer, order, "c", "a")], tie_below=0.5, margin_levels=levels)
    (pair,) = ranking.pairs
    assert (pair.chosen, pair.rejected) == (order[1], order[0])
    assert pair.margin == {"negligibly": 0.0, "slightly": 1.0, "better": 2.0, "significantly": 3.0}[strength]


@given(st.data())
def test_what_was_clicked_is_what_is_exported(data: st.DataObject) -> None:
    """Whatever the order on the screen: of any two responses the one with the smaller rank has the higher grade."""
    num = data.draw(st.integers(2, 9))
    order = data.draw(st.permutations(range(num)))
    ranks = data.draw(st.lists(st.none() | st.integers(1, num), min_size=num, max_size=num))
    safe = data.draw(st.lists(st.booleans(), min_size=num, max_size=num) | st.just([]))
    found = judgement(Answer(ranks=ranks, safe=safe), order, "c", "a")
    for place, response in enumerate(order):
        assert (found.grades[response] is None) == (ranks[place] is None)
        assert not safe or found.safe[response] == safe[place]
        for other_place, other in enumerate(order):
            one, two = ranks[place], ranks[other_place]
            if one is not None and two is not None:
                better = found.grades[response] > found.grades[other]  # type: ignore[operator]
                assert better == (one < two)
