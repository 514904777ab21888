"""Accord aligns language models to human preference. What stands in `__all__` is the public API.

    import accord

    run = accord.run_recipe("mine.yaml")
    print(run.policy().sample(["Write one line of a film review."]))

Versions are semantic: what is public changes incompatibly with a major version only (before 1.0, a minor one). Names
are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accord.api.data import read_data
    from accord.api.evaluation import evaluate_reward_model, null_baselines, win_rates
    from accord.api.models import Policy, Reward, Stream, load_policy, load_reward
    from accord.api.runs import Planned, Run, Step, check_recipe, load_run, run_recipe, run_step
    from accord.api.sweeps import sweep_recipe
    from accord.errors import Interrupted, UserError
    from accord.types import (
        Comparison,
        Demonstration,
        Judgement,
        LabelledResponse,
        Message,
        Pair,
        PlainText,
        Prompt,
        Ranking,
        RatedText,
        Response,
    )

    __version__: str

_HOMES = {
    "accord.api.data": ("read_data",),
    "accord.api.evaluation": ("evaluate_reward_model", "null_baselines", "win_rates"),
    "accord.api.models": ("Policy", "Reward", "Stream", "load_policy", "load_reward"),
    "accord.api.runs": ("Planned", "Run", "Step", "check_recipe", "load_run", "run_recipe", "run_step"),
    "accord.api.sweeps": ("sweep_recipe",),
    "accord.errors": ("Interrupted", "UserError"),
    "accord.types": (
        "Comparison",
        "Demonstration",
        "Judgement",
        "LabelledResponse",
        "Message",
        "Pair",
        "PlainText",
        "Prompt",
        "Ranking",
        "RatedText",
        "Response",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Comparison",
    "Demonstration",
    "Interrupted",
    "Judgement",
    "LabelledResponse",
    "Message",
    "Pair",
    "PlainText",
    "Planned",
    "Policy",
    "Prompt",
    "Ranking",
    "RatedText",
    "Response",
    "Reward",
    "Run",
    "Step",
    "Stream",
    "UserError",
    "__version__",
    "check_recipe",
    "evaluate_reward_model",
    "load_policy",
    "load_reward",
    "load_run",
    "null_baselines",
    "read_data",
    "run_recipe",
    "run_step",
    "sweep_recipe",
    "win_rates",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("accord")
        except PackageNotFoundError:  # from a checkout that is not installed
            return "0"
    if name not in _HOME_OF:
        raise AttributeError(f"module 'accord' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
