"""The parts of the speed benchmarks that are pure: what is chosen, what a contestant is given, what it reports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.contestants.shared import Report, versions
from bench.speed.case import smoked
from bench.speed.cases import CASES, chosen
from bench.speed.environments import PEERS, digest, is_made, requirements_of
from bench.speed.flops import Example
from bench.speed.material import Batch, exploded
from bench.speed.models import Folders
from bench.speed.run import reported, settings, steps_an_epoch

ROOT = Path(__file__).parents[2]
FOLDERS = Folders(Path("policy"), Path("reward"), Path("store"))
ROW = {"prompt": [{"role": "user", "content": "Why?"}], "responses": ["a", "b", "c"]}


def test_every_contestant_has_a_script_and_an_environment():
    for case in CASES.values():
        assert case.first in case.contestants
        for contestant in case.contestants.values():
            assert (ROOT / "bench" / "contestants" / f"{contestant.script}.py").is_file()
            assert contestant.environment == "accord" or requirements_of(contestant.environment)


def test_torch_is_pinned_in_every_environment():
    for file in PEERS.glob("*.txt"):
        if not file.name.endswith(".no-deps.txt"):
            assert "torch==2.13.0" in file.read_text().splitlines(), file


def test_a_name_stands_for_a_case_or_for_all_that_begin_with_it():
    assert list(chosen(["dpo"])) == ["dpo"]
    assert list(chosen(["scaling-k"])) == ["scaling-k-2", "scaling-k-4", "scaling-k-9"]
    assert list(chosen(["sft"])) == ["sft"]  # and not sft-grouped
    with pytest.raises(KeyError, match="unknown"):
        chosen(["unknown"])


def test_without_a_name_the_cases_are_listed(capsys: pytest.CaptureFixture[str]):
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(CASES)


def test_smoke_is_two_examples():
    case = smoked(CASES["dpo"])
    assert case.of["size"] == case.settings["batch_size"] == 2
    assert case.rounds == 1
    assert smoked(CASES["startup"]).of == {}


def test_all_pairs_of_a_ranking_are_written_best_first():
    texts = [[row[side][0]["content"] for side in ("chosen", "rejected")] for row in exploded(ROW)]
    assert texts == [["a", "b"], ["a", "c"], ["b", "c"]]


def test_a_trainer_of_pairs_is_given_as_many_as_the_rankings_have():
    case = CASES["rankings-4"]
    batch = Batch([ROW] * 4, [Example(1, (1, 1, 1))] * 4, exploded(ROW) * 4)
    files = Path("rows.jsonl"), Path("pairs.jsonl")
    pairs = settings(case, case.contestants["trl-bf16"], batch, files, FOLDERS, Path("work"))
    assert (pairs["batch_size"], pairs["num_examples"], pairs["micro"]) == (12, 12, 8)
    assert pairs["data"] == "pairs.jsonl"
    own = settings(case, case.contestants["accord"], batch, files, FOLDERS, Path("work"))
    assert (own["batch_size"], own["num_examples"], own["data"]) == (4, 4, "rows.jsonl")


def test_an_epoch_is_one_step_except_where_lengths_are_grouped():
    assert {name: steps_an_epoch(case) for name, case in CASES.items() if steps_an_epoch(case) != 1} == {
        "sft-grouped": 4
    }


def test_the_report_is_the_last_line_that_is_one():
    line = json.dumps({"seconds": [1.0]})
    assert reported(f'noise\n{line}\n{{"other": 1}}\n{{not json\n') == {"seconds": [1.0]}
    assert reported("noise\n") is None


def test_a_digest_is_of_what_is_required(tmp_path: Path):
    file = tmp_path / "peer.txt"
    file.write_text("# a comment\ntorch==1\n")
    before = digest([file])
    file.write_text("torch==1  # why\n\n")
    assert digest([file]) == before
    file.write_text("torch==2\n")
    assert digest([file]) != before


def test_an_environment_is_made_anew_when_its_stamp_says_otherwise(tmp_path: Path):
    assert not is_made(tmp_path, "wanted")
    (tmp_path / ".made-from").write_text("other")
    assert not is_made(tmp_path, "wanted")
    (tmp_path / ".made-from").write_text("wanted")
    assert is_made(tmp_path, "wanted")


def test_versions_are_those_that_are_there():
    found = versions(("torch", "no-such-package"))
    assert list(found) == ["torch"]
    assert Report().seconds == []
