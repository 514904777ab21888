"""For owners and reviewers: how far people agree within groups and across them, and who can be believed."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from accord.labels import by_group, campaigns
from accord.labels.declared import LEAST
from accord.web.guard import Id, Signed, Watcher, site
from accord.web.owning import share_text
from accord.web.templates import page

router = APIRouter()


@router.get("/campaigns/{campaign_id}/groups", include_in_schema=False)
def groups_page(request: Request, campaign_id: Id, session: Signed, user: Watcher) -> Response:
    with site(request).database.reading() as connection:
        values: dict[str, Any] = {
            "campaign": campaigns.get(connection, campaign_id),
            "groups": by_group.by_group(connection, campaign_id),
            "believed": by_group.believed(connection, campaign_id) if by_group.can_believe() else None,
        }
    return page("groups", session, share=share_text, least_people=LEAST, **values)
