"""The annotation page, and what it asks and sends."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import AfterValidator, Field
from sqlalchemy import Connection

from accord.labels import campaigns, queue
from accord.labels.answers import Answer, Strength, storable
from accord.labels.campaigns import Campaign
from accord.labels.queue import Given, Receipt, Sent
from accord.labels.users import User
from accord.printable import printable
from accord.strict import StrictModel
from accord.web.guard import Annotator, Id, Signed, site
from accord.web.templates import page

router = APIRouter()
Key = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Text = Annotated[str, AfterValidator(storable)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]


class AnswerSent(StrictModel):
    """key: a UUID made for this answer: to send it again is safe. active_seconds: in which the person was active."""

    key: Key
    content: Answer
    active_seconds: Seconds


class SkipSent(StrictModel):
    """reason: in the person's words, or one that the page offers."""

    key: Key
    reason: Text = Field(min_length=1, max_length=2000)
    active_seconds: Seconds


class Undo(StrictModel):
    key: Key


class Draft(StrictModel):
    """What the page wants to find again of an answer that was begun. at: milliseconds since 1970, by its clock."""

    ranks: list[int | None] | None = Field(None, max_length=26)
    strength: Strength | None = None
    safe: list[bool | None] = Field([], max_length=26)
    flags: list[str] = Field([], max_length=20)
    comment: Text = Field("", max_length=10_000)
    reason: Text = Field("", max_length=2000)
    active_seconds: Seconds = 0.0
    at: float = Field(0, ge=0)


@router.get("/campaigns/{campaign_id}/annotate", include_in_schema=False)
def annotate_page(request: Request, campaign_id: Id, session: Signed, user: Annotator) -> Response:
    with site(request).database.reading() as connection:
        campaign = campaigns.get(connection, campaign_id)
        guideline = campaigns.guideline(connection, campaign_id)
    return page("annotate", session, campaign=campaign, guideline=guideline)


@router.post("/api/campaigns/{campaign_id}/next")
def next_item(request: Request, campaign_id: Id, user: Annotator) -> dict[str, Any]:
    """The item that this person has, or else a new one; `item` is null when there is none for them."""
    database = site(request).database
    with database.writing() as connection:
        campaign = campaigns.get(connection, campaign_id)
        given = queue.lease(connection, database.now(), user.id, campaign)
        progress = _progress(connection, user, campaign)
    asks = campaign.settings.model_dump(include={"strengths", "safety", "flags"}, mode="json")
    return {"item": shown(given) if given else None, "progress": progress, "asks": asks}


@router.put("/api/assignments/{assignment_id}/draft", status_code=204)
def keep_draft(request: Request, assignment_id: Id, user: Annotator, draft: Draft) -> None:
    database = site(request).database
    with database.writing() as connection:
        queue.keep_draft(connection, database.now(), user.id, assignment_id, draft.model_dump())


@router.post("/api/assignments/{assignment_id}/answer")
def answer(request: Request, assignment_id: Id, user: Annotator, sent: AnswerSent) -> dict[str, Any]:
    """Stores an answer once; what has this key already stays as it is."""
    return _store(
        request, user, assignment_id, Sent(sent.key, "answer", sent.content.model_dump(), sent.active_seconds)
    )


@router.post("/api/assignments/{assignment_id}/skip")
def skip(request: Request, assignment_id: Id, user: Annotator, sent: SkipSent) -> dict[str, Any]:
    """Leaves an item to others, once."""
    return _store(request, user, assignment_id, Sent(sent.key, "skip", {"reason": sent.reason}, sent.active_seconds))


@router.post("/api/campaigns/{campaign_id}/undo")
def undo(request: Request, campaign_id: Id, user: Annotator, asked: Undo) -> dict[str, Any]:
    """Takes back what this person sent last, which the next item then is."""
    database = site(request).database
    with database.writing() as connection:
        campaign = campaigns.get(connection, campaign_id)
        receipt = queue.undo(connection, database.now(), user.id, campaign, asked.key)
    return _receipt(receipt)


def _store(request: Request, user: User, assignment_id: int, sent: Sent) -> dict[str, Any]:
    database = site(request).database
    with database.writing() as connection:
        receipt = queue.submit(connection, database.now(), user.id, assignment_id, sent)
    return _receipt(receipt)


def shown(given: Given) -> dict[str, Any]:
    """As it is shown: texts in the order of the screen, without a word of who wrote them."""
    prompt = given.comparison.prompt
    return {
        "assignment": given.assignment,
        "messages": [{"role": one.role, "text": printable(one.content)} for one in prompt.messages],
        "responses": [printable(prompt.prefill + given.comparison.responses[i].text) for i in given.order],
        "draft": given.draft,
        "earlier": given.earlier,
    }


def _progress(connection: Connection, user: User, campaign: Campaign) -> dict[str, Any]:
    progress = campaigns.progress(connection, campaign)
    return {
        "own": queue.num_sent(connection, user.id, campaign.id),
        "answers": progress.num_answers,
        "wanted": progress.num_wanted,
        "open": campaign.open,
    }


def _receipt(receipt: Receipt) -> dict[str, Any]:
    return {"submission": receipt.submission, "repeated": receipt.repeated, "late": receipt.late}
