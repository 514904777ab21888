from __future__ import annotations

import math
from typing import Any

from accord.evaluate.benchmarks import CHANCE, Measured, benchmark_rows
from accord.monitor.benchmark_text import benchmark_lines, benchmark_markdown


def found(measured: dict[str, list[Measured]], **about: Any) -> dict[str, Any]:
    return {
        "benchmark": "t",
        "policies": list(measured),
        "rows": benchmark_rows(measured, seed=1),
        "about": {name: about.get(name, {}) for name in measured},
    }


BEFORE = [Measured("t", "acc", [1.0, 1.0, 0.0, 1.0], floors={CHANCE: 0.25})]
AFTER = [Measured("t", "acc", [0.0, 1.0, 0.0, 1.0], floors={CHANCE: 0.25})]


def test_a_table_for_each_metric() -> None:
    lines = list(benchmark_lines(found({"start": BEFORE, "ppo": AFTER}, ppo={"unfinished": 3})))
    assert lines[0] == "ppo: 3 responses ran out of tokens"
    assert lines[2] == "t, acc, 4 items"
    head, start, ppo, floor = lines[3:7]
    assert head.split() == ["policy", "value", "less", "start", "p"]
    assert start.split()[:2] == ["start", "75.0%"]
    assert "-25.0 points (" in ppo
    assert ppo.endswith("1.000")
    assert floor.split("  ")[-1].strip() == "25.0%"
    assert max(map(len, lines)) <= 100


def test_one_policy_has_nothing_to_be_compared_with() -> None:
    lines = list(benchmark_lines(found({"start": BEFORE})))
    assert lines[2].split() == ["policy", "value"]


def test_points_are_numbers_and_what_is_missing_is_counted() -> None:
    points = [Measured("mt-bench", "points", [4.0, math.nan, 9.0], is_share=False)]
    about = {"judge": "wise:points-1", "unreadable": 1}
    lines = list(benchmark_lines(found({"a": points, "b": points}, a=about, b=about)))
    assert lines[0] == "points by wise:points-1"
    assert lines[1] == "a: 1 replies of the judge hold no points, and are left out"
    assert "6.5 (4 to 9), 1 without" in lines[6]
    assert "+0 (+0 to +0)" in lines[7]
    own = {"judge": "a:points-1"}
    assert "the judge is one of the policies, whose answers it may favour" in benchmark_lines(
        found({"a": points}, a=own)
    )


def test_a_table_in_markdown() -> None:
    about = {"chat": True, "tasks": {"t": {"version": 1, "num_fewshot": 0}}}
    lines = list(benchmark_markdown(found({"start": BEFORE, "a|b": AFTER}, start=about)))
    assert lines[:2] == [
        "| task | metric | items | policy | value (95 %) | less start | p |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    assert lines[2].startswith("| t | acc | 4 | start | 75.0% (")
    assert lines[3].startswith("| t | acc | 4 | a\\|b | 50.0% (")
    assert lines[4] == f"| t | acc | 4 | ({CHANCE}) | 25.0% |  |  |"
    assert lines[6:] == ["asked with the chat template", "1 tasks, with 0 examples in front"]


def test_less_may_be_better_and_tasks_of_a_group_are_not_shown() -> None:
    perplexity = Measured("t", "ppl", [3.0, 4.0], is_share=False, higher_is_better=False)
    part = Measured("u", "ppl", [3.0, 4.0], part_of="t")
    lines = list(benchmark_lines(found({"a": [perplexity, part]})))
    assert lines[1] == "t, ppl, 2 items, less is better"
    assert not any(line.startswith("u,") for line in lines)
