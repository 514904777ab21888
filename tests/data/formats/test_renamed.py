"""Columns that were renamed: which is missing, and which of the source's own may be meant by it."""

from __future__ import annotations

import doctest
import json
from pathlib import Path

import pytest

from accord.data.formats import renamed
from accord.errors import UserError
from accord.plan import make_plan
from accord.recipe import parse_recipe
from accord.steps.registry import STEPS

PAIRS = "comparisons are prompt+responses or chosen+rejected or prompt+completion+rating."


@pytest.mark.parametrize(
    ("row", "step", "what", "remedy"),
    [
        (
            ["prompt", "choosen", "rejected"],
            "reward",
            "holds prompts, and comparisons are wanted here: for comparisons the column 'chosen' is missing (those of "
            "'mine.jsonl' are 'prompt', 'choosen', 'rejected')",
            "Did you mean 'chosen' by 'choosen'? Rename it, or write `columns: {chosen: choosen}`.",
        ),
        (
            ["prompt", "answer"],
            "sft",
            "for demonstrations the column 'completion' is missing (those of 'mine.jsonl' are 'prompt', 'answer')",
            "If it is there by another name, write `columns: {completion: answer}`; demonstrations are "
            "prompt+completion or messages or text.",
        ),
    ],
)
def test_a_recipe_is_told_which_column_is_missing(
    row: list[str], step: str, what: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.jsonl").write_text(json.dumps(dict.fromkeys(row, "Hello.")) + "\n")
    text = f"model: smollm2-135m-instruct\ndata: {{mine: mine.jsonl}}\nsteps:\n  - {step}: {{data: mine}}\n"
    with pytest.raises(UserError) as caught:
        make_plan(parse_recipe(text, Path("r.yaml")), STEPS)
    assert caught.value.where == f"r.yaml:4:{step}.data"
    assert what in caught.value.what
    assert caught.value.remedy == remedy


def test_what_is_lacking() -> None:
    assert renamed.lacking(["prompt", "completion"], ["demonstrations"]) == ("", "")
    assert renamed.lacking(["prompt"], ["comparisons"]) == (
        "for comparisons the column 'responses' is missing",
        f"If it is there by another name, write `columns: {{responses: COLUMN}}`; {PAIRS}",
    )
    assert renamed.lacking(["chosn", "rejcted"], ["comparisons"]) == (
        "for comparisons the columns 'chosen' and 'rejected' are missing",
        "Did you mean 'chosen' by 'chosn' and 'rejected' by 'rejcted'? Rename them, or write "
        "`columns: {chosen: chosn, rejected: rejcted}`.",
    )
    assert renamed.shown([str(i) for i in range(40)]).endswith("'29' and 10 more")


def test_the_examples() -> None:
    found = doctest.testmod(renamed)
    assert (found.attempted > 0, found.failed) == (True, 0)
