"""Win rates of each round against the last one, and of all against where they began."""

from __future__ import annotations

from accord.algorithms.statistics import Interval
from bench.llama2.common import Row
from bench.llama2.results import seeds_of
from bench.llama2.rounds import NUM_ROUNDS
from bench.llama2.text import lines_of, told


def table() -> list[str]:
    """A line for each seed and round. Gold judges; the proxy is what the round chose by."""
    rows = [["seed", "round", "wins against the last round", "wins against SFT", "gold score", "KL to SFT", "finished"]]
    for run in seeds_of("rounds"):
        seed, evaluations = run["seed"], run["evaluations"]
        whole = evaluations[f"whole_{seed}"]
        rows.append(
            [str(seed), "SFT", "", "", _told(whole["sft"], "gold_score"), "", f"{whole['sft']['finished']:.2f}"]
        )
        for at in range(1, NUM_ROUNDS + 1):
            name = f"best_{seed}-{at}"
            against = evaluations[f"compare_{seed}-{at}"][name]
            own = whole[name]
            wins = [_told(one, "gold_win_rate", 100) for one in (against, own)]
            rest = [_told(own, "gold_score"), f"{own['kl']:.2f}", f"{own['finished']:.2f}"]
            rows.append(["", str(at), *wins, *rest])
    if len(rows) == 1:
        return []
    return ["**rounds**: by gold, which nothing was trained against; intervals by prompt", "", *lines_of(rows)]


def _told(row: Row, name: str, times: float = 1.0) -> str:
    return told(Interval(*(row[name + end] for end in ("", "_low", "_high"))), times, sign=False)
