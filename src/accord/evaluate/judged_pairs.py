"""Files of judged pairs: two policies' responses to a prompt, and which of them a judge prefers.

    {"prompt": "...", "policy_a": "new", "response_a": "...", "policy_b": "old", "response_b": "...",
     "winner": "a", "judge": "ann"}

winner: a, b or tie; a policy's name; or, from 0 to 1, the probability that a wins. judge may be missing. a stood in the
first place: a judge who is asked in both orders gives two rows, the second with a and b exchanged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accord.data.formats.fields import Defect
from accord.data.formats.readers import source_rows
from accord.data.formats.reading import Flaw, Row
from accord.data.formats.turns import text_in
from accord.data.sources import is_builtin
from accord.errors import UserError, did_you_mean

COLUMNS = ("prompt", "policy_a", "response_a", "policy_b", "response_b", "winner", "judge")
NO_JUDGE = "judge"
_WINNERS = {"a": 1.0, "b": 0.0, "tie": 0.5}
# Chatbot Arena's words for them.
_WINNERS |= {"model_a": 1.0, "model_b": 0.0, "tie (bothbad)": 0.5, "both": 0.5, "neither": 0.5, "draw": 0.5}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row. a_wins: 1, 0 or 0.5, or a probability between."""

    prompt: str
    policy_a: str
    response_a: str
    policy_b: str
    response_b: str
    a_wins: float
    judge: str

    def swap(self) -> Verdict:
        """The same, told of the other one first."""
        mine, theirs = (self.policy_a, self.response_a), (self.policy_b, self.response_b)
        return Verdict(self.prompt, *theirs, *mine, 1 - self.a_wins, self.judge)


def read_verdicts(source: str, columns: Mapping[str, str]) -> tuple[list[Verdict], list[Flaw]]:
    """The rows of a file that can be used, and what is wrong with the others. columns: ours -> the file's.

    Raises UserError when no row can be used.
    """
    for ours in columns:
        if ours not in COLUMNS:
            raise UserError(f"{ours!r} is no column of judged pairs", remedy=did_you_mean(ours, COLUMNS))
    if is_builtin(source):
        raise UserError("no built-in data set holds judged pairs", where=source, remedy="Name a file, or a folder.")
    found: list[Verdict] = []
    flaws: list[Flaw] = []
    for row in source_rows(source):
        if isinstance(row, Flaw):
            flaws.append(row)
            continue
        try:
            found.append(_verdict(row, columns))
        except Defect as defect:
            flaws.append(Flaw(row.place, columns.get(defect.field, defect.field), defect.what, defect.code))
    if not found:
        first = f", and the first is:\n  {flaws[0]}" if flaws else ""
        remedy = f"Judged pairs have {', '.join(COLUMNS[:-1])}; name the file's own with --column OURS=THEIRS."
        raise UserError(f"no row can be used{first}", where=source, remedy=remedy)
    return found, flaws


def _verdict(row: Row, columns: Mapping[str, str]) -> Verdict:
    values = {name: row.values.get(columns.get(name, name)) for name in COLUMNS}
    for name in COLUMNS[:-1]:
        if values[name] is None:
            raise Defect(name, "is missing", "missing")
    texts = {name: text_in(values[name], name) for name in ("policy_a", "response_a", "policy_b", "response_b")}
    if texts["policy_a"] == texts["policy_b"]:
        raise Defect("policy_b", f"is {texts['policy_b']!r}, which is policy_a, too")
    for name in ("policy_a", "policy_b"):
        if not texts[name]:
            raise Defect(name, "is empty", "empty")
    prompt = values["prompt"]
    judge = values["judge"]
    return Verdict(
        prompt=prompt if isinstance(prompt, str) else json.dumps(prompt, sort_keys=True),
        **texts,
        a_wins=_a_wins(values["winner"], texts["policy_a"], texts["policy_b"]),
        judge=NO_JUDGE if judge in (None, "") else str(judge),
    )


def _a_wins(cell: Any, policy_a: str, policy_b: str) -> float:
    if isinstance(cell, str):
        by_name = {policy_a: 1.0, policy_b: 0.0}
        word = cell.strip()
        if word in by_name:
            return by_name[word]
        if word.lower() in _WINNERS:
            return _WINNERS[word.lower()]
        try:
            cell = float(word)
        except ValueError:
            cell = None
    if isinstance(cell, bool) or not isinstance(cell, int | float) or not 0 <= cell <= 1:
        raise Defect("winner", "is not a, b, tie, one of the two policies, or a probability that a wins")
    return float(cell)
