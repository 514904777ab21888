"""accord eval safety: how often unsafe prompts are complied with, and safe ones refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from accord.cli.common import DEFAULT_STORE, StoreOption, user_errors
from accord.cli.evaluate import JsonOption, SeedOption, print_found
from accord.cli.evaluate_judge import (
    EndpointOption,
    JudgeOption,
    KeyOption,
    ModelOption,
    PromptOption,
    error_lines,
    share,
)


def safety(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE...", help="Responses: columns prompt, completion, and label or type. One or two."),
    ] = None,
    policies: Annotated[
        list[str] | None,
        typer.Option(
            "--policy", metavar="MODEL", help="In place of files: it answers --prompts. A URL, too. Once or twice."
        ),
    ] = None,
    policy_models: Annotated[
        list[str] | None, typer.Option("--policy-model", metavar="NAME", help="Of a --policy URL: its model there.")
    ] = None,
    policy_key_env: Annotated[
        str | None,
        typer.Option("--policy-key-env", metavar="VARIABLE", help="Of a --policy URL: the variable with its key."),
    ] = None,
    prompts: Annotated[
        str | None, typer.Option("--prompts", metavar="FILE", help="Columns prompt, and label, unsafe or type.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Where the policies' responses are kept.")
    ] = None,
    scoring: Annotated[
        Literal["refusals", "harmbench", "strongreject"],
        typer.Option("--scoring", help="Who is refused; or how harmful the responses are, as a judge says."),
    ] = "refusals",
    detector: Annotated[
        Literal["people", "phrases", "classifier", "judge"],
        typer.Option("--by", help="People's labels in the file, usual phrases, a classifier, or a model."),
    ] = "phrases",
    style: Annotated[
        Literal["phrases", "judge"],
        typer.Option("--style", help="Who says how refusals are written: usual phrases, or the judge beside them."),
    ] = "phrases",
    labelled: Annotated[
        list[str] | None,
        typer.Option("--labelled", metavar="FILE", help="Responses that people labelled: to learn from, to measure."),
    ] = None,
    endpoint: EndpointOption = None,
    model: ModelOption = None,
    key_env: KeyOption = None,
    judge: JudgeOption = None,
    prompt: PromptOption = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N prompts.")] = None,
    max_response_tokens: Annotated[int, typer.Option("--max-response-tokens", min=1, help="Of a policy.")] = 512,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Violations and false refusals, always together; or attack success (harmbench) and how useful the responses to
    harmful prompts are (strongreject). Of two files or policies also which is better."""
    with user_errors():
        from accord.api.safety import evaluate_safety
        from accord.monitor.safety_text import safety_lines

        found = evaluate_safety(
            files or [],
            scoring=scoring,
            policies=policies or [],
            policy_models=policy_models or [],
            policy_key_env=policy_key_env,
            prompts=prompts,
            out=out,
            by=detector,
            style=style,
            labelled=labelled or [],
            limit=limit,
            max_response_tokens=max_response_tokens,
            endpoint=endpoint,
            model=model,
            key_env=key_env,
            judge=judge,
            prompt=prompt,
            seed=seed,
            store=store,
        )
        lines = safety_lines(found) if scoring == "refusals" else _harm_lines(found)
        print_found(found, None if as_json else lines)


_HARM = {
    "attack_success_rate": "attacks that succeed",
    "strongreject": "what the responses are worth to an attacker, 0 to 1",
}


def _harm_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Of --scoring harmbench and strongreject."""
    metric = "attack_success_rate" if found["scoring"] == "harmbench" else "strongreject"
    by = ""
    for name, one in found["results"].items():
        by = one["by"]
        yield f"{name}, by {by}:"
        yield f"  {_HARM[metric]}: {share(one[metric])} of {one['n']}"
        for kind, categories in one["categories"].items():
            yield f"  by {kind}:"
            for category, own in categories.items():
                yield f"    {category:<30} {share(own[metric])} of {own['n']}"
        left_out = {
            "whose judgement could not be had or read": one["num_unread"],
            "copyrighted texts, which no judge decides on": one["num_not_scored"],
            "to safe prompts": one["num_safe"],
        }
        if any(left_out.values()):
            yield f"  left out: {', '.join(f'{num} {why}' for why, num in left_out.items() if num)}"
    if found["error"] is not None:
        yield f"{by} beside people:"
        yield from error_lines(found["error"])
    else:
        yield "how far this judge can be believed is not known: name responses that people labelled, --labelled"
    if "compared" in found:
        first, second = found["results"]
        yield from _compared_lines(first, second, found["compared"])


def _compared_lines(first: str, second: str, found: Mapping[str, Any]) -> Iterator[str]:
    if "p_value" in found:
        alone = f"only {first} resists {found['only_first']}, only {second} {found['only_second']}"
        yield f"of {found['num']} prompts that both have {alone}; McNemar's exact p = {found['p_value']:.3g}"
    elif "difference" in found:
        one = found["difference"]
        yield (
            f"{second} less {first}, on {found['num']} prompts that both have: "
            f"{one['value']:+.3f} ({one['low']:+.3f} to {one['high']:+.3f})"
        )
    else:
        yield "no prompt was scored of both"
