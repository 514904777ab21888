"""The defects that are known of the real files are found, all of them. Numbers only: no text of theirs is here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from accord.data.audit.check import check_data
from accord.data.audit.personal import find_personal
from accord.data.audit.shares import toxicity_list
from accord.data.formats.options import ReadOptions
from accord.data.formats.readers import read_source

pytestmark = pytest.mark.skipif("ACCORD_DATA" not in os.environ, reason="ACCORD_DATA names no folder of real data")

PANDALM = {"prompt": ["instruction", "input"], "responses": ["response1", "response2"]}
PANDALM_RAW = ReadOptions(columns={**PANDALM, "winners": ["annotator1", "annotator2", "annotator3"]})
FINEGRAINED_RAW = ReadOptions(
    columns={"prompt": "question", "responses": [f"prediction {i}" for i in range(1, 5)], "pairwise": "preference"}
)


@pytest.mark.parametrize(
    ("file", "options", "num_rows", "counts"),
    [
        (
            "prefs/hh_helpful.jsonl.gz",
            ReadOptions(),
            1853,
            {"empty-response": 4, "empty-turn": 1, "two-turns-in-a-row": 5, "stray-role-marker": 3},
        ),
        (
            "prefs/hh_harmless.jsonl.gz",
            ReadOptions(),
            1851,
            {"empty-response": 4, "two-turns-in-a-row": 3, "stray-role-marker": 1},
        ),
        (
            "prefs/pandalm.jsonl.gz",
            ReadOptions(),
            779,
            {"empty-response": 44, "repeated": 84, "tie": 77, "value-as-text": 6},
        ),
        ("prefs/finegrained.jsonl.gz", ReadOptions(), 2068, {}),
        ("prefs/autoj.jsonl.gz", ReadOptions(), 1048, {"equal-responses": 7, "tie": 250, "stray-role-marker": 2}),
        ("sft/alpaca_seed_tasks.jsonl", ReadOptions(), 174, {}),
        ("sft/selfinstruct_user_oriented_252.jsonl", ReadOptions(), 217, {}),
        (
            "raw/hh_harmless_base_test.jsonl.gz",
            ReadOptions(),
            1856,
            {"no-shared-prefix": 5, "empty-response": 4, "two-turns-in-a-row": 3, "unclear-turns": 1},
        ),
        (
            "raw/pandalm_testset_v1.json.gz",
            PANDALM_RAW,
            779,
            {"empty-response": 44, "wrong-type": 6, "repeated": 80, "tie": 59},
        ),
        ("raw/finegrainedrlhf_qa_dev_feedback.json.gz", FINEGRAINED_RAW, 397, {"tie": 11, "intransitive": 16}),
    ],
)
def test_what_is_known_of_a_file_is_found(
    file: str, options: ReadOptions, num_rows: int, counts: dict[str, int]
) -> None:
    source = str(Path(os.environ["ACCORD_DATA"]) / file)
    reading = read_source(source, options)
    check = check_data({source: reading}, find=find_personal, toxic=toxicity_list(None))
    assert reading.num_rows == num_rows
    assert {code: len(flaws) for code, flaws in check.by_code().items()} == counts


def test_prompts_of_two_files_that_are_the_same() -> None:
    folder = Path(os.environ["ACCORD_DATA"])
    sources = [str(folder / name) for name in ("prefs/pandalm.jsonl.gz", "sft/selfinstruct_user_oriented_252.jsonl")]
    readings = {source: read_source(source) for source in sources}
    found = check_data(readings, find=find_personal, toxic=toxicity_list(None)).by_code()["shared-prompt"]
    assert 120 <= len(found) <= 134  # of 134 prompts some stand only in rows that cannot be used
    assert all(flaw.place.startswith(sources[1]) and sources[0] in flaw.what for flaw in found)
