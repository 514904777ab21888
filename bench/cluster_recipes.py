"""What `accord check --cluster` says of the recipes for large models, on made-up data of stated sizes.

    python -m bench.cluster_recipes llama2-7b --cluster 8xH100
    python -m bench.cluster_recipes llama2-70b --cluster 8x8xH200 --summary

The recipes want files of one's own. Here they are made of random words: 27,540 demonstrations in all, as the paper has
(section 3.1); all else is ours: prompts of 20 to 60 words, responses of 50 to 300, as many prompts as the recipe asks
for in five rounds, 20,000 open pairs. --summary adds up the steps of each kind.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import chdir
from pathlib import Path

from accord.cli import shipped_recipe
from accord.estimate.cluster_check import OnClusterChecked, check_on, with_a_model
from accord.estimate.devices import parse_cluster
from accord.overrides import apply_overrides
from accord.plan import make_plan
from accord.recipe import load_recipe
from accord.steps.registry import STEPS
from accord.store.artifacts import Store
from accord.store.progress import clock_time

SIZES = {  # rows of each file
    "ordinary_demos": 24_000,
    "risky_demos": 3_540,
    "ordinary_prompts": 10_000,
    "risky_prompts": 2_500,
    "ordinary_test": 500,
    "borderline_prompts": 250,
    "risky_test": 500,
    "open_pairs": 20_000,
}
_RISKS = ("illicit", "hateful", "unqualified advice")
_WORDS = (
    "the",
    "of",
    "and",
    "to",
    "in",
    "is",
    "that",
    "for",
    "it",
    "as",
    "was",
    "with",
    "be",
    "by",
    "on",
    "not",
    "are",
)


def write_data(folder: Path, sizes: Mapping[str, int] = SIZES) -> None:
    """The files that `llama2`, `llama2-7b` and `llama2-70b` name."""
    rng = random.Random(1)
    for name, num in sizes.items():
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in _rows(name, num, rng))


def _rows(name: str, num: int, rng: random.Random) -> Iterator[dict[str, str]]:
    for at in range(num):
        row = {"prompt": f"Number {name} {at}: {_text(rng, 20, 60)}"}
        if name.startswith("risky"):
            row["risk_category"] = _RISKS[at % 3]
        if name.endswith("demos"):
            row["completion"] = _text(rng, 50, 300)
        if name.endswith("pairs"):
            row |= {"chosen": _text(rng, 50, 300), "rejected": _text(rng, 50, 300)}
        yield row


def _text(rng: random.Random, least: int, most: int) -> str:
    return " ".join(rng.choices(_WORDS, k=rng.randint(least, most)))


def checked(name: str, cluster: str, folder: Path, overrides: list[str] | None = None) -> OnClusterChecked:
    """Of a shipped recipe, on the data in a folder."""
    recipe = apply_overrides(load_recipe(shipped_recipe(name)), overrides or [])
    with chdir(folder), with_a_model(recipe) as (whole, said):
        plan = make_plan(whole, STEPS)
        return check_on(plan, STEPS, Store(folder / "store"), parse_cluster(cluster), said)


def summary(found: OnClusterChecked) -> list[str]:
    """Times of all steps of each kind, as a table."""
    times, counts, memory = Counter[str](), Counter[str](), Counter[str]()
    for step, one in found.to_run:
        times[step.kind] += one.total
        counts[step.kind] += 1
        memory[step.kind] = max(memory[step.kind], one.memory.needed if one.memory else 0)
    lines = ["| kind | steps | time | GPU-hours | GiB of a GPU, at most |", "|---|---|---|---|---|"]
    for kind, seconds in times.items():
        hours = seconds * found.cluster.gpus / 3600
        lines.append(f"| {kind} | {counts[kind]} | {clock_time(seconds)} | {hours:,.0f} | {memory[kind] / 2**30:.0f} |")
    total = sum(times.values())
    hours = total * found.cluster.gpus / 3600
    most = max(memory.values()) / 2**30
    lines.append(f"| all | {sum(counts.values())} | {clock_time(total)} | {hours:,.0f} | {most:.0f} |")
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--cluster", required=True)
    parser.add_argument("--summary", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temp:
        write_data(Path(temp))
        result = checked(arguments.recipe, arguments.cluster, Path(temp))
        print("\n".join(summary(result) if arguments.summary else result.lines()))
        result.refuse()
