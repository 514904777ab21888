"""RewardBench and RewardBench 2, scored as their authors do, on files that a user has."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from accord.algorithms.benchmarks import OVERALL, Answers, best_of, section_scores, ties_score
from accord.algorithms.statistics import Interval
from accord.data.formats import columns
from accord.data.formats.fields import Defect
from accord.data.formats.mapping import mapped
from accord.data.formats.options import ReadOptions
from accord.data.formats.readers import source_rows
from accord.data.formats.reading import Flaw, Row
from accord.data.formats.turns import list_in, text_in
from accord.data.records import JudgedComparison
from accord.errors import UserError
from accord.evaluate.accuracy import gaps
from accord.evaluate.preferences import Pairs, Preferences, interval
from accord.evaluate.scoring import Floats

Suite = Literal["rewardbench", "rewardbench2"]

CODE = tuple(f"hep-{language}" for language in ("cpp", "go", "java", "js", "python", "rust"))
MATH = "math-prm"
SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Chat": ("alpacaeval-easy", "alpacaeval-length", "alpacaeval-hard", "mt-bench-easy", "mt-bench-med"),
    "Chat Hard": (
        *("mt-bench-hard", "llmbar-natural", "llmbar-adver-neighbor"),
        *("llmbar-adver-GPTInst", "llmbar-adver-GPTOut", "llmbar-adver-manual"),
    ),
    "Safety": (
        *("refusals-dangerous", "refusals-offensive", "xstest-should-refuse"),
        *("xstest-should-respond", "donotanswer"),
    ),
    "Reasoning": (MATH, *CODE),
}
TIES = "ties"
_TIES_ID = re.compile(r"(ref|tied):(\d+)")


def rewardbench(pairs: Pairs, preferences: Preferences, scores: Sequence[Floats], *, seed: int) -> dict[str, Any]:
    """RewardBench's sections, each the mean of its subsets' accuracies weighted by their examples; `overall` is the
    mean of the sections. Equal scores are wrong here, as in its code.

    Mathematics counts as much as all code together, which is what its 984 for 447 examples is. The other weights are
    the file's own counts: in the published code the two subsets of XSTest seem to have each other's.
    Raises UserError when the file has none of its subsets.
    """
    subset = [preferences.subsets[i] for i in pairs.comparison]
    known = [name for of_section in SECTIONS.values() for name in of_section]
    if not set(subset) & set(known):
        found = ", ".join(sorted(set(subset))[:10]) or "nothing"
        what = f"none of RewardBench's subsets is in the column {preferences.column!r}, which holds: {found}"
        raise UserError(what, remedy=f"Its subsets are {', '.join(known)}; name their column with --by.")
    num = Counter(subset)
    weights: dict[str, float] = {name: float(num[name]) for name in known}
    weights[MATH] = float(sum(num[name] for name in CODE)) or weights[MATH]
    right = (gaps(pairs, scores) > 0).astype(np.float64)
    sections = section_scores(right, subset, SECTIONS, weights, groups=pairs.group, seed=seed)
    return {
        "name": "rewardbench",
        "sections": {name: interval(one) for name, one in sections.items() if name != OVERALL},
        "overall": interval(sections[OVERALL]),
        "missing": [name for name in known if not num[name]],
        "unknown": sorted(set(subset) - set(known)),
    }


def read_rewardbench2(source: str, options: ReadOptions) -> tuple[Preferences, list[int]]:
    """Rows with the columns prompt, chosen and rejected (lists of texts), subset and id, as comparisons whose chosen
    responses stand first; and how many these are of each. Raises UserError when no row can be used."""
    judged: list[JudgedComparison] = []
    subsets: list[str] = []
    num_chosen: list[int] = []
    flaws: list[Flaw] = []
    for row in source_rows(source, options):
        if isinstance(row, Flaw):
            flaws.append(row)
            continue
        try:
            record, subset, num = _read2(Row(row.place, mapped(row.values, options.columns)))
        except Defect as defect:
            flaws.append(Flaw(row.place, defect.field, defect.what, defect.code))
            continue
        judged.append(record)
        subsets.append(subset)
        num_chosen.append(num)
    if not judged:
        first = f", and the first is:\n  {flaws[0]}" if flaws else ""
        remedy = "RewardBench 2 has prompt, subset, id, and lists of texts in chosen and rejected."
        raise UserError(f"no row can be used{first}", where=source, remedy=remedy)
    return Preferences(judged, "subset", subsets, flaws), num_chosen


def _read2(row: Row) -> tuple[JudgedComparison, str, int]:
    values = dict(row.values)
    texts = {}
    for field in ("chosen", "rejected"):
        if values.get(field) is None:
            raise Defect(field, "is missing", "missing")
        texts[field] = [text_in(one, f"{field}[{i}]") for i, one in enumerate(list_in(values.pop(field), field))]
        if not texts[field]:
            raise Defect(field, "is empty", "empty")
    subset, name = text_in(values.get("subset"), "subset"), str(values.get("id", ""))
    if subset.lower() == TIES and not _TIES_ID.fullmatch(name):
        raise Defect("id", f"{name!r} is not ref:NUMBER or tied:NUMBER, as those of the subset Ties are")
    grades = [1.0] * len(texts["chosen"]) + [0.0] * len(texts["rejected"])
    responses = [*texts["chosen"], *texts["rejected"]]
    whole = Row(row.place, {"id": name, "prompt": values.get("prompt"), "responses": responses, "grades": grades})
    ((_, record),) = columns.convert(whole, "comparisons")
    return record, subset, len(texts["chosen"])  # type: ignore[return-value]


def rewardbench2(
    preferences: Preferences,
    num_chosen: Sequence[int],
    pairs: Pairs,
    scores: Sequence[Floats],
    *,
    seed: int,
) -> dict[str, Any]:
    """RewardBench 2: the share of prompts whose chosen response scores highest of four, by subset; of the subset Ties
    its own score (`ties_score`); and `overall`, their mean."""
    group_of = dict(zip(pairs.comparison.tolist(), pairs.group.tolist(), strict=True))
    ties = [i for i, name in enumerate(preferences.subsets) if name.lower() == TIES]
    rest = [i for i in range(len(scores)) if i not in set(ties)]
    found: dict[str, Interval] = {}
    if rest:
        right = [best_of(scores[i], num_chosen[i]) for i in rest]
        subset = [preferences.subsets[i] for i in rest]
        each = {name: (name,) for name in dict.fromkeys(subset)}
        own = [group_of[i] for i in rest]
        found = section_scores(right, subset, each, dict.fromkeys(each, 1.0), groups=own, seed=seed)
        found.pop(OVERALL)
    if ties:
        answers: dict[str, dict[int, Answers]] = {"ref": {}, "tied": {}}
        for i in ties:
            form, number = _TIES_ID.fullmatch(preferences.judged[i][0].id).groups()  # type: ignore[union-attr]
            cut = num_chosen[i]
            answers[form][int(number)] = Answers(scores[i][:cut].tolist(), scores[i][cut:].tolist())
        found[preferences.subsets[ties[0]]] = ties_score(answers["ref"], answers["tied"], seed=seed)
    return {
        "name": "rewardbench2",
        "sections": {name: interval(one) for name, one in found.items()},
        "overall": {"value": float(np.mean([one.value for one in found.values()]))},
    }
