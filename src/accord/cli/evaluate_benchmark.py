"""accord eval benchmark: policies on a benchmark's own file, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import typer

from accord.cli.common import DEFAULT_STORE, StoreOption, user_errors
from accord.cli.evaluate import JsonOption, SeedOption, print_found


def benchmark(
    policies: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...", help="A run, RUN:STEP, a folder, a built-in model. The first is compared with."
        ),
    ],
    data: Annotated[str, typer.Option("--data", metavar="FILE", help="The suite's file: Accord brings none along.")],
    suite: Annotated[Literal["truthfulqa"], typer.Option("--suite", help="Which it is.")] = "truthfulqa",
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N questions.")
    ] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """What alignment costs, or brings: policies on the same questions, and each one's difference to the first."""
    with user_errors():
        from accord.api.benchmarks import evaluate_benchmark

        found = evaluate_benchmark(policies, data, suite=suite, limit=limit, seed=seed, store=store)
        print_found(found, None if as_json else _lines(found))


def _lines(found: dict[str, Any]) -> Iterator[str]:
    for name, one in found["results"].items():
        floors = one["floors"]
        yield f"{name}, {found['suite']}, {one['n']} questions:"
        yield (
            f"  mc1 {_share(one['mc1'])}; with every answer as good as another {floors['mc1']['chance']:.1%}, "
            f"always the shortest {floors['mc1']['shortest']:.1%}"
        )
        yield f"  mc2 {_share(one['mc2'])}; with every answer as good as another {floors['mc2']['chance']:.1%}"
    first = next(iter(found["results"]))
    for name, one in found["differences"].items():
        yield f"{name} less {first}: mc1 {_points(one['mc1'])}, mc2 {_points(one['mc2'])}"


def _share(found: dict[str, float]) -> str:
    return f"{found['value']:.1%} ({found['low']:.1%} to {found['high']:.1%})"


def _points(found: dict[str, float]) -> str:
    return f"{100 * found['value']:+.1f} points ({100 * found['low']:+.1f} to {100 * found['high']:+.1f})"
