"""Over-optimisation at more than the shipped recipe's size: the best of up to 1,024, over 64 prompts (Gao et al. 2022).

    python -m bench.goodhart run --seed 1 [--study apart] [--store DIR] [--num-prompts 64] [--num-samples 1024]
    python -m bench.goodhart table

It is `recipes/goodhart.yaml` with a larger sample; with `--study apart` it is `goodhart_apart.yaml`, which asks whether
the members of an ensemble should have the same wrong labels. One recipe seed a run: gold, proxies, labels and trainings
are all drawn anew. A seed that was stopped goes on with the step where it was; the numbers are kept in
results/goodhart, as the step `overoptimization` writes them, without any text. Intervals within a run are over prompts
and the three seeds of each proxy; the table shows the runs side by side, and says nothing of seeds that nobody ran.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import accord
from accord.cli import shipped_recipe
from accord.monitor.overoptimization_text import turn_in_words

RESULTS = Path(__file__).parent / "results" / "goodhart"
STUDIES = {"shipped": shipped_recipe("goodhart"), "apart": Path(__file__).parent / "goodhart_apart.yaml"}


def run(seed: int, store: Path, num_prompts: int, num_samples: int, study: str = "shipped") -> None:
    path = RESULTS / f"{'' if study == 'shipped' else f'{study}-'}{num_prompts}x{num_samples}-{seed}.json"
    if path.exists():
        sys.exit(f"{path} is there: delete it to measure anew")
    overrides = {"seed": seed, "many.num_prompts": num_prompts, "many.num_responses": num_samples}
    found = accord.run_recipe(STUDIES[study], store=store, overrides=overrides, force=True)
    step = found.step("overoptimization")
    results = json.loads((step.folder / "results.json").read_text(encoding="utf-8"))
    about = {"seed": seed, "num_prompts": num_prompts, "num_samples": num_samples, "version": accord.__version__}
    seconds = {name: round(one.seconds, 1) for name, one in found.steps.items()}
    RESULTS.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({**about, "seconds": seconds, **results}, separators=(",", ":")) + "\n", encoding="utf-8"
    )


def table() -> None:
    """Of each run what gold has at the largest n, where it turns, and by how much proxies differ."""
    for path in sorted(RESULTS.glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        print(
            f"\n{path.stem}: {found['num_prompts']} prompts, the best of {found['num_samples']:,}, seed {found['seed']}"
        )
        print(f"{'proxy':18}{'gold, best of all':>26}{'proxy':>8}   gold is highest at the distance")
        for name, one in found["best_of_n"]["proxies"].items():
            ends = f"{one['gold'][-1]:+.2f} ({one['gold_low'][-1]:+.2f} to {one['gold_high'][-1]:+.2f})"
            print(f"{name:18}{ends:>26}{one['proxy'][-1]:+8.2f}   {_turn(one)}")
        print(f"{'gold itself':18}{found['best_of_n']['gold'][-1]:+.2f}")
        for one in found["best_of_n"]["differences"]:
            ends = f"{one['gold']:+.2f} ({one['gold_low']:+.2f} to {one['gold_high']:+.2f})"
            print(f"{one['first']} less {one['second']}: {ends}")
        for name, one in found.get("training", {}).items():
            print(f"training {name}: {_turn(one)}")


def _turn(one: dict[str, Any]) -> str:
    return turn_in_words(one) if one.get("fit") else f"no curve: {one.get('no_fit')}"


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m bench.goodhart", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("--study", choices=STUDIES, default="shipped")
    running.add_argument("--seed", type=int, required=True)
    running.add_argument("--store", type=Path, default=Path(tempfile.gettempdir()) / "accord-goodhart")
    running.add_argument("--num-prompts", type=int, default=64)
    running.add_argument("--num-samples", type=int, default=1024)
    commands.add_parser("table")
    given = parser.parse_args()
    if given.command == "table":
        table()
    else:
        run(given.seed, given.store, given.num_prompts, given.num_samples, given.study)


if __name__ == "__main__":
    main()
