"""Where a person writes, and two policies answer."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import Field

from accord.errors import UserError
from accord.labels import campaigns, live, users
from accord.labels.refusals import Conflict
from accord.labels.users import User
from accord.strict import StrictModel
from accord.types import Message
from accord.web.annotating import Key, shown
from accord.web.guard import Annotator, Id, site, waiting

router = APIRouter()


class Written(StrictModel):
    """key: a UUID made for this text: to send it again asks nobody twice. after: the item whose conversation goes on
    with the response that was called best; null begins a new one."""

    key: Key
    text: str = Field(max_length=10 * live.MOST_CHARACTERS)
    after: int | None = Field(None, ge=1, le=2**31 - 1)


@router.post("/api/campaigns/{campaign_id}/write")
async def write(request: Request, campaign_id: Id, user: Annotator, sent: Written) -> dict[str, Any]:
    """Two responses to what a person wrote, to be compared."""
    return await waiting(request, _write, campaign_id, user, sent)


def _write(request: Request, campaign_id: int, user: User, sent: Written) -> dict[str, Any]:
    database, policies = site(request).database, site(request).policies
    with database.writing() as connection:
        campaign = campaigns.get(connection, campaign_id)
        if not (campaign.settings.live and campaign.open):
            raise Conflict("nobody writes in this campaign, or not any more")
        if before := live.given_before(connection, database.now(), user.id, campaign, sent.key):
            return {"item": shown(before)}
        live.check_text(sent.text)
        history = live.conversation_after(connection, user.id, sent.after) if sent.after else ()
    if policies is None:
        raise Conflict("there is no policy that could answer: start `accord web` with --policy")
    messages = (*history, Message("user", sent.text))
    try:
        answers = policies.answers(messages)
    except UserError as error:
        raise Conflict(f"the policies did not answer ({error.what}); what you wrote is kept here") from error
    texts, by = [one.text for one in answers], [one.by for one in answers]
    with database.writing() as connection:
        users.still_here(connection, user.id)
        given = live.add(connection, database.now(), user.id, campaign, sent.key, messages, texts, by)
    return {"item": shown(given)}
