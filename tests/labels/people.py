"""Campaigns and people for the tests of this folder."""

from __future__ import annotations

from accord.labels import campaigns, users
from accord.labels.campaigns import Campaign, Settings
from accord.labels.database import Database
from accord.labels.users import Role, User
from accord.types import Comparison, Message, Prompt, Response


def comparison(number: int, num_responses: int = 2) -> Comparison:
    prompt = Prompt(f"c{number}", (Message("user", f"Question {number}?"),))
    return Comparison(f"c{number}", prompt, tuple(Response(f"Answer {k}.") for k in range(num_responses)))


def campaign(
    database: Database,
    num_items: int = 3,
    *,
    name: str = "film",
    gold: int = 0,
    num_responses: int = 2,
    **settings: object,
) -> Campaign:
    """gold: how many of the items have a known best response, their first."""
    with database.writing() as connection:
        made = campaigns.create(connection, database.now(), name, Settings.model_validate(settings), "Be fair.")
        items = [comparison(i, num_responses) for i in range(num_items)]
        known = [0 if i < gold else None for i in range(num_items)]
        campaigns.add_items(connection, database.now(), made.id, items, known)
    return made


def user(database: Database, name: str = "ana", role: Role = "annotator") -> User:
    with database.writing() as connection:
        return users.create(connection, database.now(), name, role)
