"""What a red-team campaign becomes: demonstrations, preferences, prompts to distil from, and a suite to test with.

Attacks of one category and vector are a family. Some families are held out: what is trained on holds none of their
prompts, and the suite holds no others, so that it tells whether a policy has learned more than the attacks it saw.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from sqlalchemy import Connection, select

from accord.data.records import JudgedComparison, RecordKind, to_row
from accord.labels.campaigns import Campaign
from accord.labels.red_team import Reply, Turn, messages_of
from accord.labels.red_team_results import Found, found
from accord.labels.schema import attacks, replies, sittings, turns
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
class Asked:
    """A prompt with its replies, and what is held of each."""

    turn: int
    prompt: Prompt
    family: Family
    replies: tuple[str, ...]
    held: tuple[Found, ...]

    @property
    def violates(self) -> bool:
        return any(one.outcome == "violation" for one in self.held)

    @property
    def is_replay(self) -> bool:
        return self.held[0].replays is not None


def records(
    connection: Connection, campaign: Campaign, form: Form
) -> list[Demonstration] | list[JudgedComparison] | list[Prompt]:
    """sft: the safe replies, to imitate. pairs: of two replies to one prompt of which one is a violation and the other
    safe, the safe one preferred. prompts: those that a reply was a violation to. suite: the same of held-out families,
    which are in none of the others. Of replays sft has the safe replies, which are new; their prompts are in what the
    earlier campaign becomes, and not here once more."""
    found = asked(connection, campaign)
    broken = [one for one in found if one.violates and not one.is_replay]
    if form == "suite":
        return [one.prompt for one in broken if is_held_out(one.family)]
    if form == "prompts":
        return [one.prompt for one in broken if not is_held_out(one.family)]
    seen = [one for one in found if not is_held_out(one.family)]
    if form == "pairs":
        return [pair for one in seen if (pair := _pair(one)) is not None]
    return [
        Demonstration(one.prompt, Response(text))
        for one in seen
        for text, held in zip(one.replies, one.held, strict=True)
        if held.outcome in SAFE and text
    ]


def suite_rows(connection: Connection, campaign: Campaign, form: Form) -> list[dict[str, Any]]:
    """The prompts of `records`, of the forms prompts and suite, with what a `redteam` step tells them apart by:
    category, vector, and whether their family is held out."""
    kinds = {one.prompt.id: one.family for one in asked(connection, campaign)}
    rows = []
    for prompt in records(connection, campaign, form):
        assert isinstance(prompt, Prompt)
        category, vector = kinds[prompt.id]
        told = {"unsafe": True, "category": category, "vector": vector, "held_out": is_held_out((category, vector))}
        rows.append({**to_row("prompts", prompt), **told})
    return rows


def is_held_out(family: Family) -> bool:
    """Whether only the suite has this family. It depends on the family alone, so that what is exported today and what
    is exported later never meet."""
    return derive_seed("held-out", *family) % ONE_IN == 0


def asked(connection: Connection, campaign: Campaign) -> list[Asked]:
    """All prompts, in the order in which they were written; a replay's are the earlier campaign's, with new replies."""
    of_turn: dict[int, list[Found]] = defaultdict(list)
    for one in found(connection, campaign.id):
        of_turn[one.turn].append(one)
    told = _told(connection, campaign.id)
    made = []
    for turn_id, held in of_turn.items():
        *before, last = told[turn_id]
        family = (held[0].category, held[0].vector)
        messages = tuple(messages_of(before, last.text, last.goes_on))
        prompt = Prompt(f"{campaign.name}-{turn_id}", messages, risk_category=family[0])
        made.append(Asked(turn_id, prompt, family, tuple(reply.text for reply in last.replies), tuple(held)))
    return made


def _told(connection: Connection, campaign_id: int) -> dict[int, list[Turn]]:
    """Of each turn the conversation up to it, and it."""
    sat = select(sittings.c.id).where(sittings.c.campaign_id == campaign_id)
    of_campaign = turns.c.attack_id.in_(select(attacks.c.id).where(attacks.c.sitting_id.in_(sat)))
    said: dict[int, list[Reply]] = defaultdict(list)
    answers = select(replies).join(turns, turns.c.id == replies.c.turn_id).where(of_campaign)
    for row in connection.execute(answers.order_by(replies.c.place)):
        said[row.turn_id].append(Reply(row.id, row.text or ""))
    written = select(turns).where(of_campaign).order_by(turns.c.id)
    told: dict[int, list[Turn]] = {}
    last: dict[int, list[Turn]] = {}  # of each attack
    for row in connection.execute(written):
        turn = Turn(row.id, row.text or "", row.goes_on, tuple(said[row.id]))
        told[row.id] = last[row.attack_id] = [*last.get(row.attack_id, ()), turn]
    return told


def _pair(one: Asked) -> JudgedComparison | None:
    outcomes = [held.outcome for held in one.held]
    if len(outcomes) != 2 or outcomes.count("violation") != 1 or not any(outcome in SAFE for outcome in outcomes):
        return None
    safe = tuple(outcome != "violation" for outcome in outcomes)
    comparison = Comparison(one.prompt.id, one.prompt, tuple(Response(text) for text in one.replies))
    return comparison, (Judgement(comparison.id, "red-team", tuple(float(is_safe) for is_safe in safe), safe),)
