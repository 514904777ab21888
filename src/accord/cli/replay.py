"""What `accord labels replay` and `accord labels mitigated` do."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from sqlalchemy import Connection

from accord.cli.common import say
from accord.errors import UserError
from accord.labels import replay
from accord.labels.campaigns import Campaign
from accord.labels.database import Database
from accord.labels.refusals import Missing, Unfit
from accord.rewards.http_json import Declined
from accord.store.progress import Progress
from accord.web.policies import served


def put_again(database: Database, earlier: Campaign, into: str, policies: Sequence[str], store: str) -> None:
    """Asks each policy each prompt that it was not asked before. A reply is on the disk once it has come."""
    with database.writing() as connection:
        asked = replay.prompts(connection, earlier)
        campaign = replay.later(connection, database.now(), into, earlier)
    passed: list[str] = []
    with served(policies, store) as talking:
        with database.reading() as connection:
            there = replay.there(connection, campaign.id)
        draws = secrets.SystemRandom()  # raters cannot tell by the order who wrote what
        drawn = [(one, name) for one in asked for name in draws.sample(talking.names, len(talking.names))]
        left = [(one, name) for one, name in drawn if (one.turn, name) not in there]
        with Progress("replay", len(drawn), "replies", start=len(drawn) - len(left)) as progress:
            for one, name in left:
                try:
                    reply = talking.likeliest(name, one.prompt.messages)
                    with database.writing() as connection:
                        replay.add(connection, database.now(), campaign.id, one.turn, name, reply)
                except (Declined, Missing, Unfit) as error:  # of this prompt; the others can be asked
                    passed.append(f"{one.prompt.id}, {name}: {error.what if isinstance(error, Declined) else error}")
                progress.advance()
    for line in passed:
        say(f"left out: {line}")
    before = f", and {len(drawn) - len(left)} were there" if len(left) < len(drawn) else ""
    say(f"{len(left) - len(passed)} replies are new in {into!r}{before}; people find them among the second ratings")


def mitigated_lines(connection: Connection, campaign: Campaign) -> list[str]:
    found = replay.mitigated(connection, campaign.id)
    if not found:
        remedy = f"Put what broke earlier ones to them: accord labels replay EARLIER --into {campaign.name!r}."
        raise UserError(f"nothing was put to a policy again in {campaign.name!r}", remedy=remedy)
    return [_line(one) for one in found]


def _line(one: replay.Mitigated) -> str:
    of_all = "all attacks" if one.families == "all" else f"{one.families} attacks"
    waiting = f"{one.num_unrated} without a rating, {one.num_disputed} disputed"
    if not one.share.num:
        return f"{one.policy}, {of_all}: nothing is decided of {one.num_replayed} ({waiting})"
    share = one.share.share
    text = f"{share.value:.0%} ({share.low:.0%} to {share.high:.0%}) of {one.share.num} are no violation any more"
    return f"{one.policy}, {of_all}: {text} ({waiting})"
