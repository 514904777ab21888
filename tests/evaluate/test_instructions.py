from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from accord.errors import UserError
from accord.evaluate.benchmarks import benchmark_rows
from accord.evaluate.instructions import Followed, Instructed, measured, read_ifeval

ROW: dict[str, Any] = {
    "key": 7,
    "prompt": "Write without commas, in lower case.",
    "instruction_id_list": ["punctuation:no_comma", "change_case:english_lowercase"],
    "kwargs": [{}, {}],
}
ITEM = Instructed("7", ROW["prompt"], tuple(ROW["instruction_id_list"]), ({}, {}))


def test_shares_by_prompt_and_by_instruction_by_hand() -> None:
    items = [ITEM, Instructed("8", "?", ("startend:quotation",), ({},))]
    followed = [Followed((True, False), (True, True)), Followed((True,), (True,))]
    rows = benchmark_rows({"p": measured(items, followed)})
    values = {row["metric"]: (row["policies"]["p"]["value"], row["n"]) for row in rows}
    assert values == {
        "prompts, strict": (0.5, 2),
        "instructions, strict": (pytest.approx(2 / 3), 3),
        "prompts, loose": (1.0, 2),
        "instructions, loose": (1.0, 3),
    }


def test_a_prompts_instructions_are_drawn_together() -> None:
    (_, strict, *_) = measured([ITEM], [Followed((True, False), (True, True))])
    assert strict.groups == [0, 0]
    (found,) = benchmark_rows({"p": [strict]})
    assert found["policies"]["p"]["high"] < 1  # one prompt: drawing tells nothing, and the interval is Wilson's


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": " "}, "prompt is no text"),
        ({"instruction_id_list": []}, "instruction_id_list is no list of names"),
        ({"kwargs": [{}]}, "kwargs is no list of 2 objects, one for each instruction"),
    ],
)
def test_a_file_is_read_and_what_is_wrong_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "suite.jsonl"
    path.write_text(json.dumps(ROW) + "\n")
    assert read_ifeval(str(path)) == [ITEM]
    path.write_text(json.dumps(ROW | change) + "\n")
    with pytest.raises(UserError, match=rf"suite\.jsonl:1:{next(iter(change))}: {message}"):
        read_ifeval(str(path))


def test_the_real_file_is_read() -> None:
    path = Path(os.environ.get("ACCORD_DATA", "/nowhere")) / "benchmarks/ifeval_input_data.jsonl.gz"
    if not path.is_file():
        pytest.skip("ACCORD_DATA names no folder with benchmarks/ifeval_input_data.jsonl.gz")
    items = read_ifeval(str(path))
    assert len(items) == 541
    assert len({name for one in items for name in one.instructions}) == 25
