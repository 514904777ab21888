"""Judgements from every form in which files have them."""

from __future__ import annotations

import pytest

from accord.data.derive import mean_grades
from accord.data.formats.fields import Defect
from accord.data.formats.grades import judgements_in
from accord.types import Judgement


def grades(num_responses: int, **columns: object) -> list[tuple[float | None, ...]]:
    judgements = judgements_in(columns, "c", num_responses)
    assert [judgement.annotator for judgement in judgements] == [str(i + 1) for i in range(len(judgements))]
    return [judgement.grades for judgement in judgements]


@pytest.mark.parametrize(
    ("column", "cell", "expected"),
    [
        ("scores", [2.5, None, 1], [(2.5, None, 1.0)]),
        ("grades", [[1, 2, 3], [3, None, 1]], [(1, 2, 3), (3, None, 1)]),
        ("scores", "[1, 2, 3]", [(1, 2, 3)]),  # a cell of CSV
        ("ranks", [1, 3, 2], [(2, 0, 1)]),
        ("ranks", [[1, 1, 3], [None, 2, 1]], [(2, 2, 0), (None, 1, 2)]),
        ("winners", [1, 3, 0, None, ""], [(1, 0, 0), (0, 0, 1), (0, 0, 0)]),
        ("winners", ["2"], [(0, 1, 0)]),
        ("best", [0, "2", None], [(1, 0, 0), (0, 0, 1)]),
    ],
)
def test_the_grades_of_three_responses(column, cell, expected):
    assert grades(3, **{column: cell}) == expected


def test_pairs_judged_by_one_rater():
    found = judgements_in({"pairwise": [1, 2, 0]}, "c", 3)  # (1,2): the first; (1,3): the third; (2,3): neither
    assert [judgement.grades for judgement in found] == [(2, 0, None), (0, None, 2), (None, 1, 1)]
    assert mean_grades(found, 3) == [1, 0.5, 1.5], "the wins"
    assert {judgement.annotator for judgement in found} == {"1"}


def test_votes_are_about_two_responses():
    assert grades(2, votes=[1, -1, 0, None]) == [(1, 0), (0, 1), (0, 0)]
    with pytest.raises(Defect, match="votes are about two responses, and here are 3"):
        grades(3, votes=[1])


@pytest.mark.parametrize("column", ["votes", "winners", "best"])
def test_an_empty_list_says_nothing(column):
    with pytest.raises(Defect, match="is empty: one value a rater") as caught:
        grades(2, **{column: []})
    assert (caught.value.field, caught.value.code) == (column, "missing")
    assert grades(2, **{column: [None]}) == []


def test_named_annotators():
    (judgement,) = judgements_in({"judgements": [{"annotator": "ann", "grades": [1, None]}]}, "c", 2)
    assert (judgement.comparison_id, judgement.annotator, judgement.grades) == ("c", "ann", (1.0, None))


@pytest.mark.parametrize(
    ("safe", "labels"),
    [
        ([True, None], [(True, None), ()]),
        ("[1, 0]", [(True, False), ()]),
        ([[True, "false"], [None, ""]], [(True, False), (None, None)]),
        ("", [(), ()]),
    ],
)
def test_safety_labels_are_the_raters(safe, labels):
    found = judgements_in({"scores": [[1, 2], [3, 4]], "safe": safe}, "c", 2)
    assert [judgement.safe for judgement in found] == labels
    assert [judgement.grades for judgement in found] == [(1, 2), (3, 4)]


def test_labels_without_a_rater_get_one_who_graded_nothing():
    found = judgements_in({"scores": [1, 2], "safe": [[True, True], [False, None]]}, "c", 2)
    assert found[1] == Judgement("c", "safety 2", (None, None), (False, None))
    (found,) = judgements_in({"judgements": [{"annotator": "a", "grades": [1, 2], "safe": [True, None]}]}, "c", 2)
    assert found.safe == (True, None)


@pytest.mark.parametrize(
    ("safe", "field", "what"),
    [
        ([True], "safe", "holds 1 labels for 2 responses"),
        ([True, "maybe"], "safe[1]", "true or false is wanted, not a text"),
        ([[True, 2], [True, True]], "safe[0][1]", "true or false is wanted, not a number"),
        (True, "safe", "a list is wanted, not true"),
    ],
)
def test_what_is_wrong_with_labels(safe, field, what):
    with pytest.raises(Defect) as caught:
        judgements_in({"scores": [1, 2], "safe": safe}, "c", 2)
    assert caught.value.field == field
    assert what in caught.value.what


@pytest.mark.parametrize(
    ("column", "cell", "field", "what"),
    [
        ("scores", [1, 2], "scores", "holds 2 values for 3 responses"),
        ("scores", [[1, 2, 3], [1, 2]], "scores[1]", "holds 2 values"),
        ("scores", [1, True, 3], "scores[1]", "a number is wanted, not true"),
        ("scores", [1, float("nan"), 3], "scores[1]", "is not a finite number"),
        ("scores", [1, 10**400, 3], "scores[1]", "is not a finite number"),
        ("scores", {"a": 1}, "scores", "a list is wanted, not an object"),
        ("ranks", [0, 1, 2], "ranks", "ranks count from 1"),
        ("winners", [4], "winners[0]", "4 is not the number of a response, 1 to 3, or 0"),
        ("winners", [1.5], "winners[0]", "1.5 is not"),
        ("pairwise", [1, 2], "pairwise", "holds 2 values for the 3 pairs of 3 responses"),
        ("pairwise", [1, 2, 3], "pairwise[2]", "3 is not 1, 2 or 0"),
        ("best", [3], "best[0]", "3 is not the index of a response, 0 to 2"),
        ("judgements", [7], "judgements[0]", "an object is wanted, not a number"),
        ("judgements", [{"annotator": "", "grades": [1, 2, 3]}], "judgements[0].annotator", "is empty"),
        ("judgements", [{"annotator": "a"}], "judgements[0].grades", "is missing"),
        ("judgements", [{"annotator": "a", "grades": [1]}], "judgements[0].grades", "holds 1 values"),
        ("other", [1], "", "is missing: one of judgements, scores, grades, ranks, votes, winners, pairwise"),
    ],
)
def test_what_is_wrong_with_grades(column, cell, field, what):
    with pytest.raises(Defect) as caught:
        judgements_in({column: cell}, "c", 3)
    assert caught.value.field == field
    assert what in caught.value.what
