"""accord labels accuracy: a reward model beside the people it was, or was not, trained on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from accord.cli.common import DEFAULT_STORE, StoreOption, say
from accord.cli.label_database import campaign_named, opened_labels
from accord.errors import UserError

if TYPE_CHECKING:
    from accord.labels.quality import Share


def accuracy(
    campaign: Annotated[str, typer.Argument(metavar="CAMPAIGN", help="Its name.")],
    reward_model: Annotated[
        str, typer.Option("--reward-model", metavar="MODEL", help="A run, RUN:STEP, a folder, or FILE.py:FUNCTION.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one object of JSON.")] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """How often a reward model prefers what people preferred, by month, by how sure they were, and by who they are."""
    with opened_labels(store) as database:
        from accord.api.models import load_reward
        from accord.labels.accuracy import accuracy as by_people
        from accord.labels.accuracy import compared

        with database.reading() as connection:
            of = campaign_named(connection, campaign)
            asked = compared(connection, of.id)
        if not asked:
            raise UserError(f"nobody has answered in {campaign!r} yet")
        reward = load_reward(reward_model, store=store)
        scores = reward.score([one.prompt for one in asked.values()], [one.responses for one in asked.values()])
        with database.reading() as connection:
            found = by_people(connection, of.id, dict(zip(asked, scores, strict=True)))
        if as_json:
            rows = {kind: {name: _numbers(one) for name, one in of.items()} for kind, of in found.items()}
            typer.echo(json.dumps(rows))
            return
        for kind, of_kind in found.items():
            for name, one in of_kind.items():
                share = one.share
                what = "all" if kind == "all" else f"{kind} {name}"
                say(f"{what}: {share.value:.1%} ({share.low:.1%} to {share.high:.1%}) of {one.num} pairs")


def _numbers(found: Share) -> dict[str, float]:
    share = found.share
    return {"accuracy": share.value, "low": share.low, "high": share.high, "n": found.num}
