"""accord eval benchmark: policies on a benchmark's own file, or on tasks of lm-evaluation-harness, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

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
    data: Annotated[
        str | None, typer.Option("--data", metavar="FILE", help="The suite's file: Accord brings none along.")
    ] = None,
    suite: Annotated[
        Literal["truthfulqa", "ifeval", "mt-bench"], typer.Option("--suite", help="Which suite the file is.")
    ] = "truthfulqa",
    tasks: Annotated[
        str | None,
        typer.Option("--tasks", metavar="NAME,...", help="In place of a file: tasks of lm-evaluation-harness."),
    ] = None,
    include_path: Annotated[
        Path | None,
        typer.Option("--include-path", metavar="FOLDER", help="Your own tasks. They are programs, and are run."),
    ] = None,
    num_fewshot: Annotated[
        int | None, typer.Option("--num-fewshot", metavar="N", min=0, help="Examples in front; else the task's number.")
    ] = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="Ask the tasks with the chat template, rather than as plain texts.")
    ] = False,
    judge: Annotated[
        str | None,
        typer.Option("--judge", metavar="MODEL", help="Of mt-bench: a model of one's own that gives points."),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(
            "--endpoint", metavar="URL", help="Of mt-bench: the base URL of the judge's OpenAI-compatible API."
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="Of the endpoint: its name there.")
    ] = None,
    key_env: Annotated[
        str | None, typer.Option("--key-env", metavar="VARIABLE", help="The environment variable with its key.")
    ] = None,
    judge_prompt: Annotated[
        str, typer.Option("--judge-prompt", metavar="NAME", help="What the judge is asked: a name, or a .yaml file.")
    ] = "points-1",
    max_response_tokens: Annotated[
        int | None,
        typer.Option("--max-response-tokens", metavar="N", min=1, help="Of a suite; else as many as it allows."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N items.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Where what was answered is written down.")
    ] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print one table in Markdown.")] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """What alignment costs, or brings: policies on the same questions, and each one's difference to the first."""
    with user_errors():
        from accord.api.benchmarks import JudgeOptions, evaluate_benchmark
        from accord.monitor.benchmark_text import benchmark_lines, benchmark_markdown

        found = evaluate_benchmark(
            policies,
            data,
            suite=suite,
            tasks=[name for part in (tasks or "").split(",") if (name := part.strip())],
            include_path=include_path,
            num_fewshot=num_fewshot,
            chat=chat,
            judge=JudgeOptions(endpoint, model, key_env, judge, judge_prompt),
            max_response_tokens=max_response_tokens,
            limit=limit,
            out=out,
            seed=seed,
            store=store,
        )
        lines = benchmark_markdown if markdown else benchmark_lines
        print_found(found, None if as_json else lines(found))
