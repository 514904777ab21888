"""What is done about an alarm: nothing, or the training ends. A pure function of the metrics and of the recipe's word.

A training asks after each of its measurements, with all rows that there are until then. The rows are all that counts,
so a training that was stopped and gone on with ends where one that was not does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from accord.monitor.alarms import Alarm, alarms, raised
from accord.monitor.unstable import value_learns
from accord.monitor.windows import FEWEST, Row

Action = Literal["warn", "stop", "rollback"]
Actions = Action | Mapping[str, Action]  # one for all alarms, or by name; of the others it is "warn"

# So many rows there are before an alarm ends a training. Those of a single row wait for none.
ROWS: Final[Mapping[str, int]] = {
    **dict.fromkeys(("not_finite", "negative_kl", "first_ratio", "kl_spike"), 1),
    "useless_value": 12,
}


@dataclass(frozen=True, slots=True)
class Decision:
    """The training ends, because of an alarm. action: "stop", it keeps the weights that it has; "rollback", the best
    ones; "error", none, and the step fails."""

    action: Literal["stop", "rollback", "error"]
    alarm: Alarm


def action_of(actions: Actions, name: str) -> Action:
    """What the recipe wants done about an alarm.

    >>> action_of("stop", "kl_spike"), action_of({"kl_spike": "stop"}, "endless")
    ('stop', 'warn')
    """
    return actions if isinstance(actions, str) else actions.get(name, "warn")


def acting(rows: Sequence[Row]) -> list[Alarm]:
    """The alarms that may end a training with these rows. A value model starts from nothing, and is worse than the mean
    until it has learned: it is no cause as long as it learns."""
    return _acting(alarms(rows), rows)


def causes(rows: Sequence[Row]) -> list[Alarm]:
    """`acting`, and those that another alarm says the why of: that one may be only to be warned of."""
    return _acting(raised(rows), rows)


def _acting(found: Sequence[Alarm], rows: Sequence[Row]) -> list[Alarm]:
    old = [alarm for alarm in found if len(rows) >= ROWS.get(alarm.name, FEWEST)]
    return [alarm for alarm in old if alarm.name != "useless_value" or not value_learns(rows)]


def decide(rows: Sequence[Row], actions: Actions) -> Decision | None:
    """Whether the training with these rows of metrics, one an iteration or optimizer step, ends with the last of them.

    Of several alarms one with "rollback" decides, else one with "stop", of these the first of `raised`. Alarms that
    compare rows decide nothing before there are four, and some not before there are more. A number that is not finite
    ends the training in any case: with an error, unless the best weights are to be kept, as the last ones may be what
    is broken.
    """
    found = [Decision(action, alarm) for alarm in causes(rows) if (action := _ending(actions, alarm.name)) is not None]
    return min(found, key=lambda one: _ORDER.index(one.action), default=None)


_ORDER: Final = ("rollback", "error", "stop")


def _ending(actions: Actions, name: str) -> Literal["stop", "rollback", "error"] | None:
    action = action_of(actions, name)
    if name == "not_finite" and action != "rollback":
        return "error"
    return None if action == "warn" else action
