"""From what people said to what a step learns from: rankings from judgements, and one kind of record seen as another.

Margins follow Llama 2 (arXiv:2307.09288, Table 27): the clearer the preference, the larger the score gap asked for.
There annotators chose one of four levels; here the level comes from the difference of the mean grades, or the margin
itself does: a column `margin` is read as a difference of 1 + margin, where chosen and rejected alone differ by 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, Literal

from accord.data.records import JudgedComparison, RecordKind
from accord.types import Comparison, Demonstration, Judgement, LabelledResponse, Message, Pair, Prompt, Ranking

MarginSize = Literal["none", "small", "large"]
OwnMargins = Literal["data"]

# Negligibly better, slightly better, better, significantly better (Table 27).
MARGINS: dict[MarginSize, tuple[float, ...]] = {
    "none": (),
    "small": (0.0, 1 / 3, 2 / 3, 1.0),
    "large": (0.0, 1.0, 2.0, 3.0),
}

# Differences of means such as 1.4 - 0.9 fall a rounding error short of the threshold that they are meant to reach.
ROUNDING = 1e-9


def margin_levels(
    margins: MarginSize | Sequence[float], thresholds: Sequence[float]
) -> tuple[tuple[float, float], ...]:
    """(threshold, margin) of the four levels; thresholds are ascending differences of grades. No levels for "none".

    margins: of the four levels, one of Llama 2's two tables or one's own.

    >>> margin_levels("large", (0.5, 1.5, 2.5, 4.0))
    ((0.5, 0.0), (1.5, 1.0), (2.5, 2.0), (4.0, 3.0))
    """
    if margins == "none":
        return ()
    assert list(thresholds) == sorted(thresholds), "thresholds ascend"
    table = MARGINS[margins] if isinstance(margins, str) else margins
    return tuple(zip(thresholds, table, strict=True))


def derive_ranking(
    comparison: Comparison,
    judgements: Sequence[Judgement],
    *,
    tie_below: float,
    margin_levels: Sequence[tuple[float, float]] | OwnMargins = (),
) -> Ranking:
    """Orders the responses of one comparison by their mean grade over the judgements that grade them.

    tie_below: differences of mean grades below this, and equal grades, are ties.
    margin_levels: (threshold, margin), ascending; a pair's margin is that of the highest level that its difference
    reaches, 0 if it reaches none; "data": the difference less 1, and 0 of one below 1. A response
    that nobody graded is in no pair, and in no tie.
    """
    means = mean_grades(judgements, len(comparison.responses))
    pairs, ties = [], []
    for (i, mean_i), (j, mean_j) in combinations(enumerate(means), 2):
        if mean_i is None or mean_j is None:
            continue
        gap = abs(mean_i - mean_j) + ROUNDING
        if gap < max(tie_below, 2 * ROUNDING):  # means that differ by a rounding error are equal
            ties.append((i, j))
            continue
        margin = _margin(gap, margin_levels)
        pairs.append(Pair(i, j, margin) if mean_i > mean_j else Pair(j, i, margin))
    safe = safe_by_majority(judgements, len(comparison.responses))
    return Ranking(comparison.prompt, comparison.responses, tuple(pairs), tuple(ties), safe)


def _margin(gap: float, levels: Sequence[tuple[float, float]] | OwnMargins) -> float:
    if levels == "data":
        return max(0.0, round(gap - ROUNDING - 1, 9))  # 1.3 - 1 is not quite 0.3
    return max((level for level in levels if gap >= level[0]), default=(0.0, 0.0))[1]


def without_unsafe_chosen(ranking: Ranking) -> Ranking:
    """Without the pairs whose chosen response is unsafe and whose rejected one is safe (Llama 2 leaves them out: people
    who prefer such a response prefer it for something else, and safer responses should not be pushed down)."""
    if not ranking.safe:
        return ranking
    safe = ranking.safe
    return replace(
        ranking, pairs=tuple(p for p in ranking.pairs if (safe[p.chosen], safe[p.rejected]) != (False, True))
    )


def of_single_best(ranking: Ranking) -> Ranking:
    """The pairs of the one response that is better than every other that was graded, and no ties; no pairs where there
    is no such response (Ziegler et al. 2019 asked for the best of four)."""
    tied = {index for tie in ranking.ties for index in tie}
    graded = tied.union(*((pair.chosen, pair.rejected) for pair in ranking.pairs))
    wins = Counter(pair.chosen for pair in ranking.pairs)
    pairs = tuple(pair for pair in ranking.pairs if wins[pair.chosen] == len(graded) - 1)
    return replace(ranking, pairs=pairs, ties=())


def safe_by_majority(judgements: Sequence[Judgement], num_responses: int) -> tuple[bool | None, ...]:
    """Whether each response is safe, as most say who say something; None where nobody does, or as many deny it. ()
    when no response has a label."""
    found: list[bool | None] = []
    for index in range(num_responses):
        said = [label for judgement in judgements if judgement.safe and (label := judgement.safe[index]) is not None]
        votes = 2 * sum(said) - len(said)
        found.append(votes > 0 if votes else None)
    return tuple(found) if any(label is not None for label in found) else ()


def mean_grades(judgements: Sequence[Judgement], num_responses: int) -> list[float | None]:
    """The mean grade of each response over the judgements that grade it; None where there is none."""
    return [_mean_grade(judgements, index) for index in range(num_responses)]


def _mean_grade(judgements: Sequence[Judgement], index: int) -> float | None:
    grades = [grade for judgement in judgements if (grade := judgement.grades[index]) is not None]
    return sum(grades) / len(grades) if grades else None


def view(records: Iterable[Any], kind: RecordKind, wanted: RecordKind) -> list[Any]:
    """Records of one kind seen as another, where VIEWS has a way; the same records when the kinds are equal.

    Prompts have ids of their own, because draws are seeded by them. Those of other records come once each, however
    many records share one.
    """
    if kind == wanted:
        return _with_own_ids(records) if wanted == "prompts" else list(records)
    see = VIEWS[kind, wanted]
    seen = [one for record in records for one in see(record)]
    return _with_own_ids(_distinct(seen)) if wanted == "prompts" else seen


def _distinct(prompts: Iterable[Prompt]) -> Iterable[Prompt]:
    first: dict[tuple[tuple[Message, ...], str], Prompt] = {}
    for prompt in prompts:
        first.setdefault((prompt.messages, prompt.prefill), prompt)
    return first.values()


def _with_own_ids(prompts: Iterable[Prompt]) -> list[Prompt]:
    given = list(prompts)
    names = own_names([prompt.id for prompt in given])
    return [one if name == one.id else replace(one, id=name) for one, name in zip(given, names, strict=True)]


def own_names(names: Iterable[str]) -> list[str]:
    """Each name once: the second `a` becomes `a#2`."""
    count: dict[str, int] = {}
    own = []
    for given in names:
        name = given
        while name in count:
            count[given] += 1
            name = f"{given}#{count[given]}"
        count[name] = 1
        own.append(name)
    return own


def _best_response(record: JudgedComparison) -> list[Demonstration]:
    """The response with the highest mean grade, when it is the only one."""
    comparison, judgements = record
    means = mean_grades(judgements, len(comparison.responses))
    graded = [(mean, response) for mean, response in zip(means, comparison.responses, strict=True) if mean is not None]
    best = max((mean for mean, _ in graded), default=None)
    chosen = [response for mean, response in graded if mean == best and response.text]
    return [Demonstration(comparison.prompt, chosen[0])] if len(chosen) == 1 and len(graded) > 1 else []


def _winners_and_losers(record: JudgedComparison) -> list[LabelledResponse]:
    """Each response that won more of its ordered pairs than it lost is good, and the other way round bad."""
    ranking = derive_ranking(*record, tie_below=0.0)
    labelled = []
    for index, response in enumerate(ranking.responses):
        won = sum(pair.chosen == index for pair in ranking.pairs)
        lost = sum(pair.rejected == index for pair in ranking.pairs)
        if won != lost:
            labelled.append(LabelledResponse(ranking.prompt, response, won > lost))
    return labelled


def _good_response(record: LabelledResponse) -> list[Demonstration]:
    return [Demonstration(record.prompt, record.response)] if record.good else []


def _prompt(record: Demonstration | LabelledResponse) -> list[Prompt]:
    return [record.prompt]


# (kind, wanted kind) -> what a record becomes: a list, because some become nothing.
VIEWS: Mapping[tuple[RecordKind, RecordKind], Callable[[Any], list[Any]]] = {
    ("comparisons", "demonstrations"): _best_response,
    ("comparisons", "labelled"): _winners_and_losers,
    ("comparisons", "prompts"): lambda record: [record[0].prompt],
    ("labelled", "demonstrations"): _good_response,
    ("labelled", "prompts"): _prompt,
    ("demonstrations", "prompts"): _prompt,
}
