"""accord eval: reward models and judges on a user's own files."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import typer

from accord.cli.common import DEFAULT_STORE, StoreOption, say, user_errors
from accord.cli.data import ColumnOption, FormatOption
from accord.cli.readings import named_columns, read_options

app = typer.Typer(help="Measure reward models and judges, with intervals and floors.", no_args_is_help=True)

_REWARD = "A run (what its last policy was trained on), RUN:STEP, a folder of a reward model, or FILE.py:FUNCTION."
_PREFERENCES = "Preferences: a file, a folder of files, hub:OWNER/NAME or builtin:NAME.PART."
ByOption = Annotated[
    str | None,
    typer.Option(
        "--by", metavar="COLUMN", help="Results by this column; else by subset, category or source, if it differs."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Of the draws for intervals.")]


@app.command(name="reward-model")
def reward_model(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=_REWARD)],
    data: Annotated[str, typer.Option("--data", metavar="FILE", help=_PREFERENCES)],
    by: ByOption = None,
    suite: Annotated[
        Literal["rewardbench", "rewardbench2"] | None,
        typer.Option("--suite", help="Score the file as this suite is scored."),
    ] = None,
    probes: Annotated[
        bool, typer.Option("--probes", help="Also dress the responses up, and see how the scores change.")
    ] = False,
    num_probed: Annotated[
        int, typer.Option("--num-probed", metavar="N", min=1, help="Comparisons for --probes: the first N.")
    ] = 200,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N rows.")] = None,
    form: FormatOption = "auto",
    columns: ColumnOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """How well a reward model orders preferences, beside what knowing nothing reaches."""
    with user_errors(), _stopped():
        from accord.api.evaluation import evaluate_reward_model
        from accord.monitor.evaluation_text import reward_lines

        options = read_options(form, "auto", columns)
        found = evaluate_reward_model(
            model,
            data,
            by=by,
            suite=suite,
            probes=probes,
            num_probed=num_probed,
            seed=seed,
            store=store,
            format=options.format,
            columns=options.columns,
            limit=limit,
        )
        print_found(found, None if as_json else reward_lines(found))


@app.command()
def baselines(
    data: Annotated[str, typer.Option("--data", metavar="FILE", help=_PREFERENCES)],
    by: ByOption = None,
    form: FormatOption = "auto",
    columns: ColumnOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """What always taking the longest response, the shortest or the first reaches on preferences."""
    with user_errors():
        from accord.api.evaluation import null_baselines
        from accord.monitor.evaluation_text import baselines_lines

        options = read_options(form, "auto", columns)
        found = null_baselines(data, by=by, seed=seed, format=options.format, columns=options.columns)
        print_found(found, None if as_json else baselines_lines(found))


@app.command(name="win-rate")
def win_rate(
    data: Annotated[str, typer.Argument(metavar="FILE", help="Judged pairs: a file, a folder or hub:OWNER/NAME.")],
    baseline: Annotated[
        str | None, typer.Option("--baseline", metavar="POLICY", help="Against whom; else policy_b of the first row.")
    ] = None,
    columns: ColumnOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Win rates, at equal length too, ratings, and how far the judge can be trusted.

    FILE has the columns prompt, policy_a, response_a, policy_b, response_b, winner (a, b, tie, or the probability that
    a wins), and perhaps judge.
    """
    with user_errors():
        from accord.api.evaluation import win_rates
        from accord.monitor.win_rate_text import win_rate_lines

        found = win_rates(data, baseline=baseline, columns=named_columns(columns), seed=seed)
        print_found(found, None if as_json else win_rate_lines(found))


@contextmanager
def _stopped() -> Iterator[None]:
    """After Ctrl-C: what a model has scored is kept; what a function or a server said, which may differ, is not."""
    try:
        yield
    except KeyboardInterrupt:
        print("\nstopped; what a model has scored is kept, and the same command goes on", file=sys.stderr)
        raise typer.Exit(130) from None


def print_found(found: dict[str, Any], lines: Iterable[str] | None) -> None:
    if lines is None:
        say(json.dumps(found, ensure_ascii=True, allow_nan=False))
        return
    for line in lines:
        say(line)
