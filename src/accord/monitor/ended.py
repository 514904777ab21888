"""How an alarm ended a training, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accord.monitor.values import clean, table


def ending(summary: Mapping[str, Any]) -> str | None:
    """From the summary of a step; None where no alarm ended it.

    >>> ending({"num_iterations": 7, "ended_by_alarm": {"alarm": "kl_spike", "action": "stop", "after": 7}})
    'ended after iteration 7 by the alarm kl_spike, with the weights that it had'
    >>> told = {"alarm": "overfitting", "action": "rollback", "after": 90, "kept": 60, "by": "eval_loss"}
    >>> ending({"num_optimizer_steps": 90, "ended_by_alarm": told})
    'ended after optimizer step 90 by the alarm overfitting; kept are the weights after optimizer step 60, by eval_loss'
    """
    told = table(summary.get("ended_by_alarm"))
    if not told:
        return None
    if not told.get("after"):
        return f"ended before it learned anything, by the alarm {clean(told.get('alarm'), 60)}"
    unit = "iteration" if "num_iterations" in summary else "optimizer step"
    said = f"ended after {unit} {told.get('after')} by the alarm {clean(told.get('alarm'), 60)}"
    if told.get("action") != "rollback":
        return f"{said}, with the weights that it had"
    kept = f"the weights after {unit} {told.get('kept')}" if told.get("kept") else "the weights that it started from"
    return f"{said}; kept are {kept}, by {clean(told.get('by'), 60)}"
