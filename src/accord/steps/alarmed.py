"""The key `alarms` of steps that train: what is done about an alarm, and what does not go together with it. No step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from accord.errors import did_you_mean
from accord.monitor.reactions import Action
from accord.steps.base import Contradiction, PlannedStep
from accord.strict import StrictModel

if TYPE_CHECKING:
    from accord.engine.guard import Guard, Quality

_SAMPLES: Final = (
    *("not_finite", "overoptimisation", "wrong_way", "negative_kl", "kl_spike", "mismatch", "endless", "unfinished"),
    *("entropy_collapse", "repetition", "length_jump", "paid_by_length", "few_modes", "keyword", "stale_reward"),
    "disagreement",
)
_GRADIENT: Final = (*_SAMPLES, "first_ratio", "clipping", "no_updates")
_FIXED: Final = ("not_finite", "overfitting")
RAISED: Final[Mapping[str, tuple[str, ...]]] = {
    "ppo": (*_GRADIENT, "useless_value"),
    "rloo": (*_GRADIENT, "equal_scores"),
    "grpo": (*_GRADIENT, "equal_scores"),
    "online_dpo": (*_SAMPLES, "no_pairs", "equal_scores"),
    "dpo": (*_FIXED, "displacement"),
    "kto": (*_FIXED, "displacement"),
    "reject": ("not_finite", "chosen_cut_off", "no_safety_prompt"),
    "sft": _FIXED,
    "reward": _FIXED,
}  # by kind of step: the alarms that its metrics may give cause for


class Alarmed(StrictModel):
    """alarms: what is done about an alarm. `warn`: it is said, and the training goes on. `stop`: the training ends
    there with the weights that it has, and the run goes on with them. `rollback`: it ends there, and the best weights
    are kept, by what watches: on policy the first reward in `watch`, else the held-out accuracy, margin or loss. One
    word is for all alarms; in a map, such as `{overoptimisation: rollback, kl_spike: stop}`, those that are left out
    are `warn`. A loss or score that is not finite (`not_finite`) is an error but with `rollback`."""

    alarms: Action | dict[str, Action] = "warn"


def check_alarms(step: PlannedStep) -> None:
    """Raises Contradiction for what cannot be done."""
    config: Any = step.config
    known = RAISED[step.kind]
    if isinstance(config.alarms, dict):
        for name in config.alarms:
            if name not in known:
                what = f"a step of kind {step.kind!r} raises no alarm {name!r}"
                raise Contradiction(f"alarms.{name}", what, did_you_mean(name, known))
        if config.alarms.get("not_finite", "rollback") != "rollback":
            what = "weights that came with numbers that are not finite are not kept: without `rollback` it is an error"
            raise Contradiction("alarms.not_finite", what, "Write `not_finite: rollback`, or leave it out.")
    where = next((f"alarms.{name}" for name in known if _in_map(config, name) == "rollback"), "alarms")
    if rolls_back(config):
        _can_roll_back(step, where)
    if acts(config) and getattr(config, "members", 1) > 1:
        what = "the members of an ensemble are trained one after the other, and none is ended by an alarm"
        raise Contradiction("alarms", what, "Leave out alarms, or members.")


def _in_map(config: Any, name: str) -> str | None:
    return config.alarms.get(name) if isinstance(config.alarms, dict) else None


def _can_roll_back(step: PlannedStep, where: str) -> None:
    watches = step.parents.get("watch")
    if step.kind == "reject":
        raise Contradiction(where, "a rollback needs something that is measured in between", "Write `stop`.")
    if watches is None:
        if not step.parents["validation"]:
            what = "rollback goes back to the weights that were best on held-out data, and there is none"
            raise Contradiction(where, what, "Name a part that is not trained on as `validation`, or write `stop`.")
    elif not watches:
        what = "rollback goes back to the policy that a watching reward liked best, and nothing watches"
        raise Contradiction(where, what, "Name a reward that nothing is trained against in `watch`, or write `stop`.")
    elif watches[0].step.key == step.parents["reward"][0].step.key:
        what = f"rollback goes back to the policy of the highest score by {watches[0].name!r}, which is optimised"
        raise Contradiction(where, what, "Put another reward first in `watch`: the optimised one knows nothing new.")


def acts(config: Any) -> bool:
    """Whether an alarm may end the training."""
    given = config.alarms
    return any(action != "warn" for action in ([given] if isinstance(given, str) else given.values()))


def rolls_back(config: Any) -> bool:
    given = config.alarms
    return "rollback" in ([given] if isinstance(given, str) else given.values())


def guard(config: Any, quality: Quality | None) -> Guard:
    """quality: what the best weights are told by, where there may be a rollback."""
    from accord.engine.guard import End, Guard
    from accord.monitor.reactions import decide

    def end(rows: Sequence[Mapping[str, Any]]) -> End | None:
        found = decide(rows, config.alarms)
        return None if found is None else End(found.alarm.name, found.alarm.what, found.action)

    return Guard(end, acts(config), quality if rolls_back(config) else None)


def chosen_by(step: PlannedStep) -> Iterator[tuple[PlannedStep, PlannedStep]]:
    """Of a policy: the steps behind it whose weights an alarm may have chosen, each with the reward that chooses."""
    seen, left = set(), [step]
    while left:
        one = left.pop()
        if one.key in seen:
            continue
        seen.add(one.key)
        left += [link.step for links in one.parents.values() for link in links]
        if one.kind in RAISED and one.parents.get("watch") and rolls_back(one.config):
            yield one, one.parents["watch"][0].step


def check_judge(step: PlannedStep, judge: str) -> None:
    """Raises Contradiction where the reward in the field `judge` has chosen a policy that it is to judge."""
    for link in step.parents[judge]:
        for policy in (one.step for one in step.parents["policies"]):
            for trained, chooser in chosen_by(policy):
                if chooser.key == link.step.key:
                    what = f"{link.name!r} chooses the weights of {trained.name!r} in a rollback, and cannot judge them"
                    remedy = f"Let another reward judge, or put another one first in `watch` of {trained.name!r}."
                    raise Contradiction(judge, what, remedy)
