from __future__ import annotations

import gzip
import math
from pathlib import Path

import pytest

from accord.errors import UserError
from accord.evaluate.benchmarks import CHANCE, Measured, benchmark_rows, suite_rows, with_groups


def test_one_row_for_each_metric_with_differences_to_the_first() -> None:
    before = [
        Measured("t", "acc", [1.0, 1.0, 0.0], floors={CHANCE: 0.5}),
        Measured("t", "points", [4.0, math.nan, 8.0]),
    ]
    after = [Measured("t", "acc", [0.0, 1.0, 0.0]), Measured("t", "points", [5.0, 1.0, 8.0])]
    acc, points = benchmark_rows({"before": before, "after": after}, seed=1)
    assert (acc["task"], acc["metric"], acc["n"], acc["unit"], acc["floors"]) == ("t", "acc", 3, "share", {CHANCE: 0.5})
    assert acc["policies"]["before"]["difference"] is None
    found = acc["policies"]["after"]
    assert (found["value"], found["n"]) == (pytest.approx(1 / 3), 3)
    assert (found["difference"]["value"], found["difference"]["p_value"]) == (pytest.approx(-1 / 3), 1.0)
    assert points["policies"]["before"]["n"] == 2
    assert points["policies"]["after"]["difference"] == {"value": 0.5, "low": 0.0, "high": 1.0, "n": 2, "p_value": None}


def test_a_metric_that_some_policy_has_no_value_of_has_no_row() -> None:
    nothing = Measured("t", "turn 2", [math.nan, math.nan])
    assert benchmark_rows({"a": [Measured("t", "turn 2", [1.0, 2.0])], "b": [nothing]}) == []


def test_a_number_that_is_no_mean_is_made_anew_on_each_resample() -> None:
    (row,) = benchmark_rows({name: [Measured("t", "worst", values, aggregate=min)] for name, values in VALUES.items()})
    assert row["policies"]["a"]["value"] == 1.0
    difference = row["policies"]["b"]["difference"]
    assert (difference["value"], difference["p_value"], difference["n"]) == (2.0, None, 3)


VALUES = {"a": [1.0, 2.0, 3.0], "b": [3.0, 4.0, 5.0]}


def test_a_group_has_the_items_of_its_tasks() -> None:
    small = Measured("small", "acc", [1.0], floors={CHANCE: 0.5})
    large = Measured("large", "acc", [0.0, 0.0, 1.0], floors={CHANCE: 0.25})
    alone = Measured("large", "f1", [0.5, 0.5, 0.5])
    other = Measured("other", "acc", [1.0])
    found = with_groups([small, large, alone, other], {"all": ["small", "large"]})
    assert [(one.task, one.metric, one.part_of) for one in found] == [
        ("all", "acc", None),
        ("all", "f1", None),
        ("small", "acc", "all"),
        ("large", "acc", "all"),
        ("large", "f1", "all"),
        ("other", "acc", None),
    ]
    assert found[0].values == [1.0, 0.0, 0.0, 1.0]
    assert found[0].floors == {CHANCE: pytest.approx((0.5 + 3 * 0.25) / 4)}


def test_files_are_read_packed_too_and_what_is_none_is_said(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n{"a": 2}\n'))
    assert [row.values for row in suite_rows(str(path))] == [{"a": 1}, {"a": 2}]
    assert [row.values for row in suite_rows(str(tmp_path))] == [{"a": 1}, {"a": 2}]
    path.write_bytes(gzip.compress(b'{"a": 1}\n{"a":\n'))
    with pytest.raises(UserError, match=r"rows\.jsonl\.gz:2: not JSON"):
        list(suite_rows(str(path)))
    with pytest.raises(UserError, match=r"builtin:film-reviews: .* no benchmark is among them"):
        list(suite_rows("builtin:film-reviews"))
    with pytest.raises(UserError, match=r"there is no data set .*nowhere\.jsonl"):
        list(suite_rows(str(tmp_path / "nowhere.jsonl")))
