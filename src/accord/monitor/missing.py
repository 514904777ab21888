"""What a report has no data for: a sentence for each, that says what is missing and how to get it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from accord.monitor import pictures
from accord.monitor.panels import ON_POLICY, PANELS
from accord.monitor.values import clean, number, table

if TYPE_CHECKING:
    from accord.monitor.views import RunView, StepView


def missing(run: RunView, policies: Mapping[str, Any], reward_model: Mapping[str, Any]) -> list[str]:
    """What a whole run would have shown and this one cannot, and what would show it."""
    found = []
    if not policies:
        found.append(
            "No policy was evaluated: there are no win rates and no measure of drift. An `evaluate` step measures them."
        )
    elif not table(run.results).get("baseline"):
        found.append("The results do not name the baseline of the win rates.")
    without_kl = [clean(name, 60) for name, row in policies.items() if number(row.get("kl")) is None]
    if without_kl:
        found.append(f"No KL was measured for {', '.join(without_kl)}.")
    judged = number(reward_model.get("accuracy")) is not None or any(step.evaluation for step in run.steps)
    judged = judged or any(step.kind == "accuracy" and step.results for step in run.steps)
    if not judged and (not policies or any(step.kind == "reward" for step in run.steps)):
        found.append(
            "No accuracy of a reward model on held-out pairs was measured. `validation` of a `reward` step names them."
        )
    if not run.samples and not any(step.samples for step in run.steps):
        found.append("No samples were kept. An `evaluate` step keeps those of each policy.")
    trained = [step for step in run.steps if step.kind in ON_POLICY and not policies]
    if blind := [clean(step.name, 60) for step in trained if not pictures.watches(step.metrics)]:
        found.append(
            f"No other reward looked at {', '.join(blind)}, so that over-optimisation cannot be seen. Name one that "
            "nothing is trained against as `watch`."
        )
    trained = [step for step in run.steps if step.kind in PANELS and not _rightly_untrained(step)]
    silent = [clean(step.name, 60) for step in trained if not step.metrics]
    if silent:
        found.append(f"No training metrics were found for {', '.join(silent)}.")
    if not run.steps:
        found.append("No step has finished.")
    return found


def _rightly_untrained(step: StepView) -> bool:
    """Whether it had nothing to learn from: its summary says so."""
    return table(step.summary.get("training")).get("num_optimizer_steps") == 0


def not_drawn(policies: Mapping[str, Any], trajectories: Mapping[str, Any]) -> list[str]:
    """Why there is no picture of score against drift, in a run that could have had one."""
    scored = any(number(row.get("kl")) and number(row.get("gold_score")) is not None for row in policies.values())
    if not trajectories and not scored:
        return []
    return [
        f"Score against drift is not drawn. It takes three policies, one of them {pictures.LEAST_KL} nats or more from "
        f"the baseline and not by chance, or {pictures.FEWEST_ITERATIONS} iterations of a training by a reward."
    ]
