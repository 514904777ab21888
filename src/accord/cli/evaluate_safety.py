"""accord eval safety: how often unsafe prompts are complied with, and safe ones refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from accord.cli.common import DEFAULT_STORE, StoreOption, user_errors
from accord.cli.evaluate import JsonOption, SeedOption, print_found


def safety(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE...", help="Responses: columns prompt, completion, and label or type. One or two."),
    ] = None,
    policies: Annotated[
        list[str] | None,
        typer.Option("--policy", metavar="MODEL", help="In place of files: it answers --prompts. Once or twice."),
    ] = None,
    prompts: Annotated[
        str | None, typer.Option("--prompts", metavar="FILE", help="Columns prompt, and label, unsafe or type.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Where the policies' responses are kept.")
    ] = None,
    detector: Annotated[
        Literal["people", "phrases", "classifier", "judge"],
        typer.Option("--by", help="People's labels in the file, usual phrases, a classifier, or a model."),
    ] = "phrases",
    labelled: Annotated[
        list[str] | None,
        typer.Option("--labelled", metavar="FILE", help="Responses that people labelled: to learn from, to measure."),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option("--endpoint", metavar="URL", help="Of --by judge: the base URL of an OpenAI-compatible API."),
    ] = None,
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="Of --by judge: its name there.")] = None,
    key_env: Annotated[
        str | None, typer.Option("--key-env", metavar="VARIABLE", help="The environment variable with its key.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N prompts.")] = None,
    max_response_tokens: Annotated[int, typer.Option("--max-response-tokens", min=1, help="Of a policy.")] = 512,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Violations and false refusals, always together; of two files or policies also which is better, by McNemar."""
    with user_errors():
        from accord.api.safety import evaluate_safety
        from accord.monitor.safety_text import safety_lines

        found = evaluate_safety(
            files or [],
            policies=policies or [],
            prompts=prompts,
            out=out,
            by=detector,
            labelled=labelled or [],
            limit=limit,
            max_response_tokens=max_response_tokens,
            endpoint=endpoint,
            model=model,
            key_env=key_env,
            seed=seed,
            store=store,
        )
        print_found(found, None if as_json else safety_lines(found))
