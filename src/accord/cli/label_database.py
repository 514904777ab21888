"""The label database, for the commands that use it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from accord.cli.common import user_errors
from accord.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from accord.labels.campaigns import Campaign
    from accord.labels.database import Database


@contextmanager
def opened_labels(store: Path) -> Iterator[Database]:
    """The store's database. What it refuses is an error of the user's."""
    with user_errors():
        from accord.labels.migrate import labels_of_store
        from accord.labels.refusals import Refused

        database = labels_of_store(store)
        try:
            yield database
        except Refused as refused:
            raise UserError(str(refused)) from refused
        finally:
            database.close()


def campaign_named(connection: Connection, name: str) -> Campaign:
    from accord.labels import campaigns

    found = campaigns.named(connection, name)
    if found is None:
        known = [one.name for one in campaigns.every(connection)]
        remedy = did_you_mean(name, known) if known else "Import comparisons, or run a recipe that asks people."
        raise UserError(f"there is no campaign {name!r}", remedy=remedy)
    return found
