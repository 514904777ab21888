"""What a red-team campaign becomes: demonstrations, preferences, prompts to distil from, and a suite to test with.

Attacks of one category and vector are a family. Some families are held out: what is trained on holds none of their
prompts, and the suite holds no others, so that it tells whether a policy has learned more than the attacks it saw.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Final, Literal, get_args

from sqlalchemy import Connection, select

from accord.data.records import JudgedComparison, RecordKind
from accord.labels.campaigns import Campaign
from accord.labels.red_team import conversation, messages_of
from accord.labels.red_team_results import Found, found
from accord.labels.schema import turns
from accord.seeds import derive_seed
from accord.types import Comparison, Demonstration, Judgement, Prompt, Response

Form = Literal["sft", "pairs", "prompts", "suite"]
FORMS: Final[tuple[Form, ...]] = get_args(Form)
KINDS: Final[dict[Form, RecordKind]] = {
    "sft": "demonstrations",
    "pairs": "comparisons",
    "prompts": "prompts",
    "suite": "prompts",
}
ONE_IN: Final = 5  # families is held out
SAFE: Final = ("compliant", "safe-refusal")

Family = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A prompt with its replies, and what is held of each."""

    prompt: Prompt
    family: Family
    replies: tuple[str, ...]
    held: tuple[Found, ...]

    @property
    def violates(self) -> bool:
        return any(one.outcome == "violation" for one in self.held)


def records(
    connection: Connection, campaign: Campaign, form: Form
) -> list[Demonstration] | list[JudgedComparison] | list[Prompt]:
    """sft: the safe replies, to imitate. pairs: of two replies to one prompt of which one is a violation and the other
    safe, the safe one preferred. prompts: those that a reply was a violation to. suite: the same of held-out families,
    which are in none of the others."""
    asked = _asked(connection, campaign)
    if form == "suite":
        return [one.prompt for one in asked if one.violates and is_held_out(one.family)]
    seen = [one for one in asked if not is_held_out(one.family)]
    if form == "prompts":
        return [one.prompt for one in seen if one.violates]
    if form == "pairs":
        return [pair for one in seen if (pair := _pair(one)) is not None]
    return [
        Demonstration(one.prompt, Response(text))
        for one in seen
        for text, held in zip(one.replies, one.held, strict=True)
        if held.outcome in SAFE and text
    ]


def is_held_out(family: Family) -> bool:
    """Whether only the suite has this family. It depends on the family alone, so that what is exported today and what
    is exported later never meet."""
    return derive_seed("held-out", *family) % ONE_IN == 0


def _asked(connection: Connection, campaign: Campaign) -> list[_Asked]:
    of_turn: dict[int, list[Found]] = defaultdict(list)
    for one in found(connection, campaign.id):
        of_turn[one.turn].append(one)
    rows = connection.execute(select(turns.c.id, turns.c.attack_id).where(turns.c.id.in_(of_turn)))
    attack_of = {row.id: row.attack_id for row in rows}
    asked = []
    for turn_id, held in of_turn.items():
        told = [turn for turn in conversation(connection, attack_of[turn_id], user_id=0) if turn.id <= turn_id]
        last = told[-1]
        prompt = Prompt(f"{campaign.name}-{turn_id}", tuple(messages_of(told[:-1], last.text, last.goes_on)))
        family = (held[0].category, held[0].vector)
        asked.append(_Asked(prompt, family, tuple(reply.text for reply in last.replies), tuple(held)))
    return asked


def _pair(one: _Asked) -> JudgedComparison | None:
    outcomes = [held.outcome for held in one.held]
    if len(outcomes) != 2 or outcomes.count("violation") != 1 or not any(outcome in SAFE for outcome in outcomes):
        return None
    safe = tuple(outcome != "violation" for outcome in outcomes)
    comparison = Comparison(one.prompt.id, one.prompt, tuple(Response(text) for text in one.replies))
    return comparison, (Judgement(comparison.id, "red-team", tuple(float(is_safe) for is_safe in safe), safe),)
