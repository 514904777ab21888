"""What raters said of the K responses to a prompt, in the forms that files have it, as judgements.

scores, grades  [2.5, null, 1], or a list of those, one a rater: higher is better, null is no answer
ranks           [1, 3, 2], or a list of those: 1 is the best, equal ranks are ties
votes           [1, -1, 0], one a rater: for the first of two responses, the second, neither; null no answer
winners         [1, 2, 0], one a rater: the number of the best response, 0 for none of them, null no answer
pairwise        [1, 2, 0, ...], one a pair (1,2) (1,3) ... (2,3) ...: which of the two won, 0 for neither
best            [0, 1, 0], one a rater: the index of the best response, from 0 (PKU-SafeRLHF's), null no answer
judgements      [{"annotator": "ann", "grades": [2.5, null, 1]}, ...], Accord's own

Beside these, safe: [true, false, null], whether each response is safe to give, or a list of those, one a rater.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

from accord.data.formats.fields import Defect, get, kind_of, list_of, text_of
from accord.data.formats.turns import flag_in, list_in, number_in
from accord.types import Judgement

Grades = tuple[float | None, ...]
TIE: tuple[Grades, ...] = ((0.0, 0.0),)


def judgements_in(values: Mapping[str, Any], comparison_id: str, num_responses: int) -> tuple[Judgement, ...]:
    """The judgements of a row, from the first of the columns above that it has. Raises Defect."""
    column = next((name for name in COLUMNS if name in values), None)
    if column is None:
        raise Defect("", f"what was said of the responses is missing: one of {', '.join(COLUMNS)}", "missing")
    cells = list_in(values[column], column)
    if column == "judgements":
        found = (_judgement(cell, f"judgements[{i}]", comparison_id, num_responses) for i, cell in enumerate(cells))
        return with_safe(tuple(found), values, comparison_id, num_responses)
    grades = _READ[column](cells, num_responses, column)
    if column == "pairwise":  # one rater said all of it
        judgements = tuple(Judgement(comparison_id, "1", given) for given in grades)
    else:
        judgements = by_rater(grades, comparison_id)
    return with_safe(judgements, values, comparison_id, num_responses)


def with_safe(
    judgements: tuple[Judgement, ...], values: Mapping[str, Any], comparison_id: str, num_responses: int
) -> tuple[Judgement, ...]:
    """The judgements with the labels of the column `safe`, if the row has it: the first list is the first rater's. A
    list that has no rater gets one, who graded nothing."""
    if values.get("safe", "") == "":
        return judgements
    lists = _raters(list_in(values["safe"], "safe"), "safe")
    labels = [_labels(cells, num_responses, place) for cells, place in lists]
    none: Grades = (None,) * num_responses
    more = [Judgement(comparison_id, f"safety {i}", none) for i in range(len(judgements) + 1, len(labels) + 1)]
    every = [*judgements, *more]
    return (
        *(replace(one, safe=safe) for one, safe in zip(every, labels, strict=False)),
        *every[len(labels) :],
    )


def by_rater(grades: tuple[Grades, ...], comparison_id: str) -> tuple[Judgement, ...]:
    """Judgements of raters without names: "1", "2", ... in their order."""
    return tuple(Judgement(comparison_id, str(i), given) for i, given in enumerate(grades, start=1))


def of_votes(cells: list[Any], num_responses: int, field: str) -> tuple[Grades, ...]:
    if num_responses != 2:
        raise Defect(field, f"votes are about two responses, and here are {num_responses}")
    by_vote: dict[float, Grades] = {1.0: (1.0, 0.0), -1.0: (0.0, 1.0), 0.0: (0.0, 0.0)}
    return tuple(_one_of(by_vote, cell, place, "1, -1 or 0") for cell, place in _answers(cells, field))


def _of_scores(cells: list[Any], num_responses: int, field: str) -> tuple[Grades, ...]:
    return tuple(_row(row, num_responses, place) for row, place in _raters(cells, field))


def _of_ranks(cells: list[Any], num_responses: int, field: str) -> tuple[Grades, ...]:
    """The best of K gets K - 1, so that two responses with an order differ as chosen and rejected do, by 1 or more."""
    rows = [(_row(row, num_responses, place), place) for row, place in _raters(cells, field)]
    for ranks, place in rows:
        if any(rank is not None and rank < 1 for rank in ranks):
            raise Defect(place, "ranks count from 1, the best")
    return tuple(tuple(None if rank is None else num_responses - rank for rank in ranks) for ranks, _ in rows)


def _of_winners(cells: list[Any], num_responses: int, field: str) -> tuple[Grades, ...]:
    by_winner: dict[float, Grades] = {
        float(winner): tuple(float(k == winner) for k in range(1, num_responses + 1))
        for winner in range(num_responses + 1)
    }
    wanted = f"the number of a response, 1 to {num_responses}, or 0"
    return tuple(_one_of(by_winner, cell, place, wanted) for cell, place in _answers(cells, field))


def _of_pairwise(cells: list[Any], num_responses: int, field: str) -> tuple[Grades, ...]:
    """A row for each pair: K - 1 for a win, half of it for a tie, so that the mean grade is the number of wins."""
    pairs = list(combinations(range(num_responses), 2))
    if len(cells) != len(pairs):
        what = f"holds {len(cells)} values for the {len(pairs)} pairs of {num_responses} responses"
        raise Defect(field, what)
    win = float(num_responses - 1)
    shares: dict[float, Grades] = {0.0: (win / 2, win / 2), 1.0: (win, 0.0), 2.0: (0.0, win)}
    rows = []
    for i, (pair, cell) in enumerate(zip(pairs, cells, strict=True)):
        given = dict(zip(pair, _one_of(shares, cell, f"{field}[{i}]", "1, 2 or 0"), strict=True))
        rows.append(tuple(given.get(k) for k in range(num_responses)))
    return tuple(rows)


def _of_best(cells: list[Any], num_responses: int, field: str) -> tuple[Grades, ...]:
    by_index: dict[float, Grades] = {
        float(best): tuple(float(k == best) for k in range(num_responses)) for best in range(num_responses)
    }
    wanted = f"the index of a response, 0 to {num_responses - 1}"
    return tuple(_one_of(by_index, cell, place, wanted) for cell, place in _answers(cells, field))


_READ: dict[str, Callable[[list[Any], int, str], tuple[Grades, ...]]] = {
    "scores": _of_scores,
    "grades": _of_scores,
    "ranks": _of_ranks,
    "votes": of_votes,
    "winners": _of_winners,
    "pairwise": _of_pairwise,
    "best": _of_best,
}
COLUMNS = ("judgements", *_READ)


def _judgement(cell: object, place: str, comparison_id: str, num_responses: int) -> Judgement:
    if not isinstance(cell, dict):
        raise Defect(place, f"an object is wanted, not {kind_of(cell)}", "wrong-type")
    annotator = text_of(get(cell, "annotator", f"{place}.annotator"), f"{place}.annotator", empty=False)
    grades = list_of(get(cell, "grades", f"{place}.grades"), f"{place}.grades")
    safe = list_of(cell["safe"], f"{place}.safe") if cell.get("safe") else None
    labels = () if safe is None else _labels(safe, num_responses, f"{place}.safe")
    return Judgement(comparison_id, annotator, _row(grades, num_responses, f"{place}.grades"), labels)


def _raters(cells: list[Any], field: str) -> list[tuple[list[Any], str]]:
    """The lists of several raters, or of the only one."""
    if cells and all(isinstance(cell, list) for cell in cells):
        return [(cell, f"{field}[{i}]") for i, cell in enumerate(cells)]
    return [(cells, field)]


def _answers(cells: list[Any], field: str) -> list[tuple[object, str]]:
    """What the raters said who said something. Raises Defect where there is none."""
    if not cells:
        raise Defect(
            field, "is empty: one value a rater, null for no answer; where nobody was asked, leave it out", "missing"
        )
    return [(cell, f"{field}[{i}]") for i, cell in enumerate(cells) if cell is not None and cell != ""]


def _row(cells: list[Any], num_responses: int, place: str) -> Grades:
    if len(cells) != num_responses:
        raise Defect(place, f"holds {len(cells)} values for {num_responses} responses")
    return tuple(None if cell is None else number_in(cell, f"{place}[{k}]") for k, cell in enumerate(cells))


def _labels(cells: list[Any], num_responses: int, place: str) -> tuple[bool | None, ...]:
    if len(cells) != num_responses:
        raise Defect(place, f"holds {len(cells)} labels for {num_responses} responses")
    return tuple(None if cell in (None, "") else flag_in(cell, f"{place}[{k}]") for k, cell in enumerate(cells))


def _one_of(known: Mapping[float, Grades], cell: object, place: str, wanted: str) -> Grades:
    number = number_in(cell, place)
    if number not in known:
        raise Defect(place, f"{number:g} is not {wanted}")
    return known[number]
