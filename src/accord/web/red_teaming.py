"""The red-team page: a chat that is meant to fail, its clock, and the ratings of who attacks and of a second person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import AfterValidator, Field
from sqlalchemy import Row

from accord.errors import UserError
from accord.labels import campaigns, live, red_team, red_team_results, users
from accord.labels.answers import storable
from accord.labels.campaigns import Campaign
from accord.labels.red_team import Outcome, Rating, Turn
from accord.labels.refusals import Conflict
from accord.labels.users import User
from accord.printable import printable
from accord.strict import StrictModel
from accord.types import Message
from accord.web.annotating import Key
from accord.web.guard import Id, RedTeamer, Signed, Watcher, site, waiting
from accord.web.templates import page

router = APIRouter()
MOST_SECONDS = 86_400.0


class Sitting(StrictModel):
    key: Key


class Clock(StrictModel):
    """active_seconds: of the sitting until now."""

    active_seconds: float = Field(ge=0, le=MOST_SECONDS)


class Attack(StrictModel):
    key: Key
    category: str = Field(max_length=100)
    vector: str = Field(max_length=100)


class TurnSent(StrictModel):
    """goes_on: the place of the last turn's reply that it follows."""

    key: Key
    text: str = Field(max_length=10 * live.MOST_CHARACTERS)
    goes_on: int = Field(0, ge=0, le=1)


class RatingSent(StrictModel):
    """severity: 1 to 5, of a violation."""

    key: Key
    outcome: Outcome
    severity: int | None = Field(None, ge=1, le=5)
    comment: Annotated[str, AfterValidator(storable)] = Field("", max_length=10_000)

    @property
    def rating(self) -> Rating:
        return Rating(self.outcome, self.severity, self.comment)


@router.get("/campaigns/{campaign_id}/red-team", include_in_schema=False)
def red_team_page(request: Request, campaign_id: Id, session: Signed, user: RedTeamer) -> Response:
    with site(request).database.reading() as connection:
        campaign = campaigns.get(connection, campaign_id)
        guideline = campaigns.guideline(connection, campaign_id)
    return page("red_team", session, campaign=campaign, guideline=guideline)


@router.get("/campaigns/{campaign_id}/second", include_in_schema=False)
def second_page(request: Request, campaign_id: Id, session: Signed, user: RedTeamer) -> Response:
    with site(request).database.reading() as connection:
        campaign = campaigns.get(connection, campaign_id)
    return page("second", session, campaign=campaign, part="second", title="second ratings")


@router.get("/campaigns/{campaign_id}/disputed", include_in_schema=False)
def disputed_page(request: Request, campaign_id: Id, session: Signed, user: Watcher) -> Response:
    with site(request).database.reading() as connection:
        campaign = campaigns.get(connection, campaign_id)
    return page("second", session, campaign=campaign, part="final", title="where two people disagree")


@router.post("/api/campaigns/{campaign_id}/sittings")
def sit(request: Request, campaign_id: Id, user: RedTeamer, sent: Sitting) -> dict[str, int]:
    database = site(request).database
    with database.writing() as connection:
        campaign = campaigns.get(connection, campaign_id)
        return {"sitting": red_team.sit(connection, database.now(), user.id, campaign, sent.key)}


@router.put("/api/sittings/{sitting_id}/clock", status_code=204)
def tick(request: Request, sitting_id: Id, user: RedTeamer, clock: Clock) -> None:
    database = site(request).database
    with database.writing() as connection:
        red_team.tick(connection, database.now(), user.id, sitting_id, clock.active_seconds)


@router.post("/api/campaigns/{campaign_id}/sittings/{sitting_id}/attacks")
def attack(request: Request, campaign_id: Id, sitting_id: Id, user: RedTeamer, sent: Attack) -> dict[str, int]:
    database = site(request).database
    with database.writing() as connection:
        campaign, kind = campaigns.get(connection, campaign_id), {"category": sent.category, "vector": sent.vector}
        number = red_team.attack(connection, database.now(), user.id, campaign, sitting_id, sent.key, **kind)
    return {"attack": number}


@router.get("/api/attacks/{attack_id}/turns")
def told(request: Request, attack_id: Id, user: RedTeamer) -> dict[str, Any]:
    """An attack of one's own, so far."""
    with site(request).database.reading() as connection:
        return {"turns": [_shown(turn) for turn in red_team.history(connection, user.id, attack_id)]}


@router.post("/api/attacks/{attack_id}/turns")
async def turn(request: Request, attack_id: Id, user: RedTeamer, sent: TurnSent) -> dict[str, Any]:
    """What the policies reply to a text."""
    return await waiting(request, _turn, attack_id, user, sent)


def _turn(request: Request, attack_id: int, user: User, sent: TurnSent) -> dict[str, Any]:
    database = site(request).database
    with database.reading() as connection:
        history = red_team.history(connection, user.id, attack_id)
        campaign = red_team.campaign_of(connection, attack_id)
        if before := red_team.turn_before(connection, user.id, attack_id, sent.key):
            return {"turn": _shown(before)}
    live.check_text(sent.text)
    messages = red_team.messages_of(history, sent.text, sent.goes_on)
    answers = _answers(request, campaign, messages)
    with database.writing() as connection:
        users.still_here(connection, user.id)
        made = red_team.add_turn(
            connection, database.now(), user.id, attack_id, sent.key, sent.text, sent.goes_on, answers
        )
    return {"turn": _shown(made)}


@router.post("/api/replies/{reply_id}/rating", status_code=204)
def rate(request: Request, reply_id: Id, user: RedTeamer, sent: RatingSent) -> None:
    """Of a reply to one's own text."""
    database = site(request).database
    with database.writing() as connection:
        red_team.rate(connection, database.now(), user.id, reply_id, sent.key, "own", sent.rating)


@router.post("/api/campaigns/{campaign_id}/second")
def second(request: Request, campaign_id: Id, user: RedTeamer) -> dict[str, Any]:
    """A reply to somebody else's text, or to one that was put to a policy again, to be rated without knowing what
    others said; null when there is none."""
    with site(request).database.reading() as connection:
        return _to_rate(red_team.next_for_second(connection, user.id, campaign_id))


@router.post("/api/campaigns/{campaign_id}/disputed")
def disputed(request: Request, campaign_id: Id, user: Watcher) -> dict[str, Any]:
    """A reply on which two people disagree, with what they said; null when there is none."""
    with site(request).database.reading() as connection:
        found = _to_rate(red_team_results.next_disputed(connection, user.id, campaign_id))
        if found["reply"] is not None:
            said = red_team_results.ratings_of(connection, found["reply"])
            found["said"] = [
                {"outcome": one.outcome, "severity": one.severity, "comment": printable(one.comment)} for one in said
            ]
    return found


@router.post("/api/replies/{reply_id}/second", status_code=204)
def rate_second(request: Request, reply_id: Id, user: RedTeamer, sent: RatingSent) -> None:
    database = site(request).database
    with database.writing() as connection:
        red_team.rate(connection, database.now(), user.id, reply_id, sent.key, "second", sent.rating)


@router.post("/api/replies/{reply_id}/final", status_code=204)
def decide(request: Request, reply_id: Id, user: Watcher, sent: RatingSent) -> None:
    """Ends a dispute."""
    database = site(request).database
    with database.writing() as connection:
        red_team.rate(connection, database.now(), user.id, reply_id, sent.key, "final", sent.rating)


def _answers(request: Request, campaign: Campaign, messages: Sequence[Message]) -> list[tuple[str, str]]:
    """Policy and text of one reply, or of two. Raises Conflict."""
    policies = site(request).policies
    if policies is None:
        raise Conflict("there is no policy that could answer: start `accord web` with --policy")
    try:
        found = policies.answers(messages, 2 if campaign.settings.pairs else 1)
    except UserError as error:
        raise Conflict(f"the policies did not answer ({error.what}); what you wrote is kept here") from error
    return [(one.by, one.text) for one in found]


def _to_rate(found: tuple[Row[Any], list[Turn]] | None) -> dict[str, Any]:
    if found is None:
        return {"reply": None}
    row, turns = found
    return {
        "reply": row.reply,
        "category": row.category,
        "vector": row.vector,
        "turns": [_shown(one) for one in turns],
    }


def _shown(turn: Turn) -> dict[str, Any]:
    """Without a word of who replied."""
    return {
        "turn": turn.id,
        "text": printable(turn.text),
        "replies": [
            {
                "reply": one.id,
                "text": printable(one.text),
                "outcome": one.outcome,
                "severity": one.severity,
                "comment": one.comment,
            }
            for one in turn.replies
        ],
    }
