"""accord eval judge: how far judges, and other detectors, agree with people's labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import typer

from accord.cli.common import DEFAULT_STORE, StoreOption, user_errors
from accord.cli.data import ColumnOption, FormatOption
from accord.cli.evaluate import JsonOption, SeedOption, print_found
from accord.cli.readings import read_options

EndpointOption = Annotated[
    str | None,
    typer.Option("--endpoint", metavar="URL", help="Of the judge: the base URL of an OpenAI-compatible API."),
]
ModelOption = Annotated[str | None, typer.Option("--model", metavar="NAME", help="Of the judge: its name there.")]
KeyOption = Annotated[
    str | None, typer.Option("--key-env", metavar="VARIABLE", help="The environment variable with its key.")
]
JudgeOption = Annotated[
    str | None, typer.Option("--judge", metavar="MODEL", help="In place of an endpoint: a policy of your own judges.")
]
PromptOption = Annotated[
    str | None, typer.Option("--prompt", metavar="NAME", help="What the judge is asked: ours, or a .yaml file.")
]


def judge(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="What people labelled.")],
    question: Annotated[
        Literal["refusal", "refusal-style", "harmbench", "strongreject", "preference"],
        typer.Option(
            "--of", help="Does it refuse; how does it; is it harmful; how harmful is it; which response is better."
        ),
    ],
    endpoint: EndpointOption = None,
    model: ModelOption = None,
    key_env: KeyOption = None,
    own: JudgeOption = None,
    prompt: PromptOption = None,
    labelled: Annotated[
        list[str] | None,
        typer.Option("--labelled", metavar="FILE", help="Of refusal: what the classifier learns from instead."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N rows.")] = None,
    form: FormatOption = "auto",
    columns: ColumnOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """How far a judge agrees with people who labelled the same responses; of refusals beside the usual phrases and a
    classifier. Its answers stay in the store, and are not paid for again."""
    with user_errors():
        from accord.api.judges import evaluate_judge, judge_asker

        named = any(one is not None for one in (endpoint, model, own))
        found = evaluate_judge(
            files,
            question,
            asker=judge_asker(endpoint, model, key_env, policy=own, store=store) if named else None,
            prompt=prompt,
            labelled=labelled or [],
            limit=limit,
            options=read_options(form, "auto", columns),
            seed=seed,
        )
        print_found(found, None if as_json else _lines(found))


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    for name, one in found["results"].items():
        yield f"{name}:"
        yield from preference_lines(one) if found["question"] == "preference" else error_lines(one)


def error_lines(error: Mapping[str, Any]) -> Iterator[str]:
    """Of `Error` or `GradeError` of `accord.evaluate.human_labels`, as JSON."""
    unread = f", {error['num_unknown']} unread" if error["num_unknown"] else ""
    if "absolute_error" in error:
        yield f"  {error['num']} responses{unread}"
        yield f"  off by {number(error['absolute_error'])} in the mean; always people's median: {error['floor']:.3f}"
        yield f"  correlation {number(error['correlation'])}, Krippendorff's alpha {number(error['alpha'])}"
        return
    floor = f"the commonest label alone {error['floor']:.1%}"
    yield f"  {error['num']} responses{unread}; right {share(error['accuracy'])}, {floor}"
    yield f"  sensitivity {share(error['sensitivity'])}, specificity {share(error['specificity'])}"
    yield f"  kappa {number(error['kappa'])}, Krippendorff's alpha {number(error['alpha'])}"


def preference_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Of `preference_check`."""
    unread = f", {found['num_unread']} comparisons unread" if found["num_unread"] else ""
    yield f"  {found['n']} pairs in an order, {found['ties']} ties of people{unread}; right {share(found['accuracy'])}"
    yield f"  kappa {number(found['kappa'])}, Krippendorff's alpha {number(found['alpha'])}"
    baselines = {name: one for name, one in found["baselines"].items() if one is not None and name != "constant"}
    yield f"  without reading: {', '.join(f'always the {name} {share(one)}' for name, one in baselines.items())}"
    if orders := found.get("orders"):
        flips, first = share(orders["flip_rate"]), share(orders["first_place"])
        yield f"  verdicts that change with the order {flips}; for the first place {first}"


def share(found: Mapping[str, float] | None) -> str:
    if found is None:
        return "none"
    return f"{found['value']:.1%} ({found['low']:.1%} to {found['high']:.1%})"


def number(found: Mapping[str, float] | None) -> str:
    if found is None:
        return "unknown"
    return f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"
