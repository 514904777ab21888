"""People as an annotator: comparisons become a campaign of `accord web`, and judgements are what they answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection

from accord.errors import UserError
from accord.labels import campaigns, quality
from accord.labels.campaigns import Campaign, Progress, Settings
from accord.labels.database import Database
from accord.labels.refusals import Conflict
from accord.labels.snapshot import judged
from accord.types import Comparison, Judgement


class HumanAnnotator:
    """campaign: its name; one that is there goes on. guideline: of a new one. wait: called with how far it is,
    again and again until the answers are there; it raises to leave, and nothing is lost."""

    name = "human"

    def __init__(
        self,
        database: Database,
        campaign: str,
        settings: Settings,
        guideline: str,
        wait: Callable[[int, int], None],
    ) -> None:
        self._database, self._name, self._settings, self._guideline = database, campaign, settings, guideline
        self._wait = wait

    def judge(self, comparisons: Sequence[Comparison]) -> list[Judgement]:
        """All that people said of these comparisons once as many answers are there as are wanted, or the owner has
        closed the campaign. Raises UserError where the campaign holds other texts."""
        self._publish(comparisons)
        while True:
            progress, is_open = self._progress()
            if progress.complete or not is_open:
                break
            self._wait(progress.num_answers, progress.num_wanted)
        wanted = {comparison.id for comparison in comparisons}
        with self._database.reading() as connection:
            found = judged(connection, self._campaign_id)
        return [said for comparison, of_one in found if comparison.id in wanted for said in of_one]

    def summary(self) -> dict[str, Any]:
        """Of the campaign, for the step's summary: how many said how much, and how far they agree."""
        progress, _ = self._progress()
        with self._database.reading() as connection:
            agreement = quality.agreement(connection, self._campaign_id)
            num_answers = sum(len(said) for _, said in judged(connection, self._campaign_id))
        found: dict[str, Any] = {
            "campaign": self._name,
            "num_answers": num_answers,
            "num_people": progress.num_annotators,
        }
        if agreement.num_units:
            numbers = {"alpha": agreement.alpha, "ac1": agreement.ac1}
            known = {name: round(value, 4) for name, value in numbers.items() if value == value}
            found["agreement"] = {"num_pairs": agreement.num_units, **known}
        return found

    def _publish(self, comparisons: Sequence[Comparison]) -> None:
        now = self._database.now()
        try:
            with self._database.writing() as connection:
                there = campaigns.named(connection, self._name)
                if there is None:
                    there = campaigns.create(connection, now, self._name, self._settings, self._guideline)
                self._go_on(connection, there, {comparison.id for comparison in comparisons})
                campaigns.add_items(connection, now, there.id, comparisons)
                self._campaign_id = there.id
        except Conflict as conflict:
            raise UserError(
                f"the campaign {self._name!r} cannot be gone on with: {conflict}",
                remedy="Give this step another `campaign`.",
            ) from conflict

    def _go_on(self, connection: Connection, there: Campaign, ids: set[str]) -> None:
        """What the recipe says of a campaign is set; what the owner has changed besides stays. Raises Conflict."""
        if there.settings.live or there.settings.red_team:
            raise Conflict("people write or attack in it")
        if others := sorted(campaigns.keys(connection, there.id) - ids):
            raise Conflict(f"it asks about other comparisons, too, such as {others[0]!r}")
        owned = {name: getattr(self._settings, name) for name in ("overlap", "num_answers", "strengths", "safety")}
        settings = there.settings.model_copy(update=owned)
        if settings != there.settings:
            campaigns.change(connection, self._database.now(), there.id, settings)

    def _progress(self) -> tuple[Progress, bool]:
        with self._database.reading() as connection:
            campaign = campaigns.get(connection, self._campaign_id)
            return campaigns.progress(connection, campaign), campaign.open
