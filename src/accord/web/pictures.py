"""Pictures on the page of a campaign, for owners and reviewers. People in them are their pseudonyms."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from functools import lru_cache
from typing import Any, Final, Literal

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy import Connection

from accord.labels import campaigns, quality
from accord.labels.refusals import Missing
from accord.web.guard import Id, Watcher, site

router = APIRouter()
Picture = Literal["days", "agreement", "first"]
SECONDS: Final = 120  # after which a picture is given up


@router.get("/campaigns/{campaign_id}/pictures/{name}.svg", include_in_schema=False)
async def picture(request: Request, campaign_id: Id, user: Watcher, name: Picture, dark: bool = False) -> Response:
    """dark: for a dark page. One is drawn at a time, and no thread that answers others waits for it."""
    numbers = await to_thread.run_sync(_numbers_of, request, campaign_id, name)
    asked = json.dumps({"name": name, "numbers": numbers, "dark": dark})
    svg = await to_thread.run_sync(_drawn, asked, limiter=site(request).drawing)
    if not svg:
        raise Missing("there is nothing to draw yet")
    return Response(svg, media_type="image/svg+xml")


def _numbers_of(request: Request, campaign_id: int, name: Picture) -> dict[str, Any]:
    with site(request).database.reading() as connection:
        campaigns.get(connection, campaign_id)
        return _numbers(connection, campaign_id, name)


def _numbers(connection: Connection, campaign_id: int, name: Picture) -> dict[str, Any]:
    """What the picture is drawn from."""
    match name:
        case "days":
            return {"days": quality.by_day(connection, campaign_id)}
        case "agreement":
            found = quality.agreement(connection, campaign_id)
            return {"people": found.people, "share": found.pairwise.tolist()}
        case "first":
            rows = [
                {"name": one.pseudonym, "num": one.first.num, **asdict(one.first.share)}
                for one in quality.of_people(connection, campaign_id)
            ]
            return {"people": rows}


@lru_cache(maxsize=64)
def _drawn(asked: str) -> str:
    """In a process of its own, as this one has people to answer; the same numbers are drawn once."""
    command = [sys.executable, "-P", "-m", "accord.monitor.campaign_pictures"]
    try:
        done = subprocess.run(  # in a session of its own, so that Ctrl-C does not break it off
            command, input=asked.encode(), stdout=subprocess.PIPE, check=True, timeout=SECONDS, start_new_session=True
        )
    except (subprocess.SubprocessError, OSError) as error:
        raise Missing("this picture could not be drawn") from error
    return done.stdout.decode()
