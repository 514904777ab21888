"""What there is to do, for everybody; and for owners and reviewers how it goes, who is asked, and who is let in."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field
from sqlalchemy import Connection

from accord.algorithms.statistics import Interval
from accord.labels import campaigns, events, live, quality, queue, red_team_results, remarks, replay, users
from accord.labels.campaigns import Campaign, Settings
from accord.labels.quality import Share
from accord.labels.users import ROLES, Role
from accord.strict import StrictModel
from accord.web.guard import Id, Owner, Signed, Watcher, site
from accord.web.templates import page

router = APIRouter()
NOTHING = "-"
MOST_EVENTS = 500  # on a page


class Invitation(StrictModel):
    role: Role


class UserChange(StrictModel):
    """active: false takes somebody's sessions and lets them in no more; their answers stay."""

    role: Role | None = None
    active: bool | None = None


class CampaignChange(StrictModel):
    """What is not given stays as it is."""

    open: bool | None = None
    settings: Settings | None = None
    guideline: str | None = Field(None, max_length=100_000)


@router.get("/", include_in_schema=False)
def home(request: Request, session: Signed) -> Response:
    user = session.user
    with site(request).database.reading() as connection:
        rows = [
            {
                "campaign": campaign,
                "progress": campaigns.progress(connection, campaign),
                "own": queue.num_sent(connection, user.id, campaign.id),
            }
            for campaign in campaigns.every(connection)
        ]
    watches = user.role in ("owner", "reviewer")
    annotates, attacks = (user.role in ("owner", "reviewer", own) for own in ("annotator", "red-teamer"))
    return page("home", session, campaigns=rows, watches=watches, annotates=annotates, attacks=attacks)


@router.get("/campaigns/{campaign_id}", include_in_schema=False)
def campaign_page(request: Request, campaign_id: Id, session: Signed, user: Watcher) -> Response:
    with site(request).database.reading() as connection:
        campaign = campaigns.get(connection, campaign_id)
        if campaign.settings.red_team:
            values = _red_team(connection, campaign)
            return page("red_team_results", session, share=share_text, number=_number, interval=_interval, **values)
        values = {
            "campaign": campaign,
            "guideline": campaigns.guideline(connection, campaign_id),
            "progress": campaigns.progress(connection, campaign),
            "people": quality.of_people(connection, campaign_id),
            "agreement": quality.agreement(connection, campaign_id),
            "by_strength": quality.by_strength(connection, campaign_id),
            "queue": quality.queue_state(connection, campaign_id, campaign.settings.overlap),
            "days": quality.by_day(connection, campaign_id),
            "remarks": remarks.remarks(connection, campaign_id),
            "by_policy": live.by_policy(connection, campaign_id),
        }
    return page("campaign", session, share=share_text, number=_number, **values)


@router.patch("/api/campaigns/{campaign_id}", status_code=204)
def change_campaign(request: Request, campaign_id: Id, user: Owner, change: CampaignChange) -> None:
    database = site(request).database
    with database.writing() as connection:
        campaigns.get(connection, campaign_id)
        now = database.now()
        if change.settings is not None:
            campaigns.change(connection, now, campaign_id, change.settings, user.id)
        if change.guideline is not None:
            campaigns.set_guideline(connection, now, campaign_id, change.guideline, user.id)
        if change.open is not None:
            campaigns.set_open(connection, now, campaign_id, change.open, user.id)


@router.get("/people", include_in_schema=False)
def people_page(request: Request, session: Signed, user: Owner) -> Response:
    with site(request).database.reading() as connection:
        people = users.every(connection)
    return page("people", session, people=people, roles=ROLES)


@router.get("/events", include_in_schema=False)
def events_page(request: Request, session: Signed, user: Owner) -> Response:
    """The audit trail."""
    with site(request).database.reading() as connection:
        newest = events.newest(connection, MOST_EVENTS)
    return page("events", session, events=newest, when=_when)


@router.post("/api/invitations")
def invite(request: Request, user: Owner, asked: Invitation) -> dict[Literal["path"], str]:
    """A link that lets somebody in once, within a week."""
    database = site(request).database
    with database.writing() as connection:
        token = users.invite(connection, database.now(), asked.role, by=user.id)
    return {"path": f"/join/{token}"}


@router.post("/api/users/{user_id}/link")
def link(request: Request, user_id: Id, user: Owner) -> dict[Literal["path"], str]:
    """A link that lets somebody in once who has lost the password."""
    database = site(request).database
    with database.writing() as connection:
        return {"path": f"/join/{users.link_for(connection, database.now(), user_id, user.id)}"}


@router.patch("/api/users/{user_id}", status_code=204)
def change_user(request: Request, user_id: Id, user: Owner, change: UserChange) -> None:
    database = site(request).database
    with database.writing() as connection:
        users.change(connection, database.now(), user_id, by=user.id, role=change.role, active=change.active)


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _red_team(connection: Connection, campaign: Campaign) -> dict[str, Any]:
    """And beside the campaign the one before it, of the same kind."""
    found = red_team_results.results(connection, campaign.id)
    earlier = next((one for one in campaigns.every(connection) if one.settings.red_team and one.id < campaign.id), None)
    ratio = None
    if earlier is not None:
        ratio = red_team_results.compared(found, red_team_results.results(connection, earlier.id))
    mitigated = replay.mitigated(connection, campaign.id)
    return {"campaign": campaign, "results": found, "earlier": earlier, "ratio": ratio, "mitigated": mitigated}


def _interval(found: Interval) -> str:
    return f"{_number(found.value)} ({_number(found.low)} to {_number(found.high)})"


def share_text(found: Share) -> str:
    if not found.num:
        return NOTHING
    share = found.share
    return f"{share.value:.0%} ({share.low:.0%} to {share.high:.0%}) of {found.num}"


def _number(value: float) -> str:
    if math.isinf(value):
        return "any"
    return NOTHING if math.isnan(value) else f"{value:.2f}"
