"""Prompts that people write, and the answers of policies: items of their own, which are theirs to compare."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Connection, select

from accord.algorithms.statistics import wilson
from accord.data.audit.personal import find_personal
from accord.labels import campaigns, queue
from accord.labels.answers import Answer, judgement, storable
from accord.labels.campaigns import Campaign, comparison_of
from accord.labels.quality import Share
from accord.labels.queue import Given
from accord.labels.refusals import Conflict, Missing, Unfit
from accord.labels.schema import assignments, items, submissions
from accord.labels.snapshot import said
from accord.types import Comparison, Message, Prompt, Response

MOST_CHARACTERS = 20_000  # of what a person writes


def check_text(text: str) -> None:
    """Raises Unfit for what is none, is too long, or holds what looks like somebody's data: it is never stored."""
    if not text.strip():
        raise Unfit("write something first")
    try:
        storable(text)
    except ValueError as error:
        raise Unfit(f"this {error}: take it out") from error
    if len(text) > MOST_CHARACTERS:
        raise Unfit(f"this has {len(text):,} characters, and at most {MOST_CHARACTERS:,} can be sent")
    found = sorted({one.label for one in find_personal(text)})
    if found:
        kinds = " and ".join(kind.lower().replace("_", " ") for kind in found)
        raise Unfit(f"this seems to hold somebody's {kinds}: take it out, or make one up that is clearly not real")


def conversation_after(connection: Connection, user_id: int, assignment_id: int) -> tuple[Message, ...]:
    """What was said up to and with the response that this person called best; of equal ones the first on the screen.

    Raises Missing, and Conflict for an item that the person has not answered.
    """
    found = select(assignments, items.c.content).join(items)
    row = connection.execute(found.where(assignments.c.id == assignment_id, assignments.c.user_id == user_id)).first()
    if row is None or row.content is None:
        raise Missing("this conversation is not yours, or is gone")
    said = select(submissions.c.content).where(submissions.c.assignment_id == assignment_id)
    content = connection.execute(
        said.where(submissions.c.kind == "answer").order_by(submissions.c.id.desc()).limit(1)
    ).scalar()
    if row.state != "answered" or content is None:
        raise Conflict("compare these responses first")
    comparison = comparison_of(row.content)
    grades = judgement(Answer.model_validate(content), row.order, comparison.id, "").grades
    best = max(grade for grade in grades if grade is not None)
    chosen = next(response for response in row.order if grades[response] == best)
    prompt = comparison.prompt
    return (*prompt.messages, Message("assistant", prompt.prefill + comparison.responses[chosen].text))


def add(
    connection: Connection,
    now: float,
    user_id: int,
    campaign: Campaign,
    key: str,
    messages: Sequence[Message],
    responses: Sequence[str],
    policies: Sequence[str],
) -> Given:
    """An item of these responses, in the hands of who wrote the prompt. policies: who wrote each. Adding it again gives
    the same."""
    comparison = Comparison(key, Prompt(key, tuple(messages)), tuple(Response(text) for text in responses))
    campaigns.add_items(connection, now, campaign.id, [comparison], policies=list(policies), author=user_id)
    return queue.give(connection, now, user_id, campaign, key)


def given_before(connection: Connection, now: float, user_id: int, campaign: Campaign, key: str) -> Given | None:
    """What `add` gave for this key; None when there is none. Raises Missing for somebody else's."""
    found = select(items.c.content).where(items.c.campaign_id == campaign.id, items.c.key == key)
    content = connection.execute(found).scalar()
    if content is None:
        return None
    if content.get("author") != user_id:
        raise Missing("this conversation is not yours, or is gone")
    return queue.give(connection, now, user_id, campaign, key)


def by_policy(connection: Connection, campaign_id: int) -> list[tuple[str, Share]]:
    """Where policies answered what people wrote: how often each one's response was preferred to another policy's, a tie
    one half; the best first. Temperatures are left out of their names. Intervals take answers to be independent."""
    contents = select(items.c.id, items.c.content).where(items.c.campaign_id == campaign_id)
    wrote = {
        row.id: [name.rpartition(" at ")[0] or name for name in row.content["policies"]]
        for row in connection.execute(contents.where(items.c.content.is_not(None)))
        if row.content.get("policies")
    }
    wins: dict[str, list[float]] = defaultdict(list)
    for one in said(connection, campaign_id):
        names, grades = wrote.get(one.item, []), one.judgement.grades
        if len(names) != 2 or names[0] == names[1] or None in grades:
            continue
        first, second = grades
        assert first is not None
        assert second is not None
        won = (first > second) + 0.5 * (first == second)
        wins[names[0]].append(won)
        wins[names[1]].append(1 - won)
    shares = [(name, Share(len(of), wilson(sum(of), len(of)))) for name, of in wins.items()]
    return sorted(shares, key=lambda one: -one[1].share.value)
