"""The values that a sweep goes through: `--set ppo.kl_coef=0.01,0.05` and `--seeds 3` as every combination of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import yaml

from accord.errors import UserError
from accord.overrides import apply_overrides
from accord.plan import Plan, make_plan
from accord.recipe import Recipe
from accord.steps.base import Registry
from accord.yaml_lines import parse_yaml

MAX_NAME = 120  # letters of a run's name, which is a folder's
_WHOLE = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Axis:
    """A key and its values, as YAML text. A key of one value is set in every run, and told apart by none."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run of a sweep. name: of its folder. setting: the swept keys and their values. digest: of the keys of all
    its steps, which says whether it is the same run as an earlier one."""

    name: str
    setting: Mapping[str, str]
    seed: int
    plan: Plan
    digest: str

    @property
    def label(self) -> str:
        """As in "ppo.kl_coef=0.05, seed 2"."""
        return ", ".join([*(label_of(self.setting),) * bool(self.setting), f"seed {self.seed}"])


def label_of(setting: Mapping[str, str]) -> str:
    """A setting in words, "as it is" when nothing is swept but the seed.

    >>> label_of({"ppo.kl_coef": "0.05", "ppo.lam": "1"})
    'ppo.kl_coef=0.05, ppo.lam=1'
    """
    return ", ".join(f"{key}={value}" for key, value in setting.items()) or "as it is"


def parse_axes(overrides: Iterable[str]) -> tuple[Axis, ...]:
    """`NAME.KEY=VALUE,VALUE,...` each. The values are a YAML list without its brackets, so that commas in quotes or in
    brackets belong to a value. Raises UserError."""
    axes: dict[str, Axis] = {}
    for text in overrides:
        place = f"--set {text}"
        target, equals, raw = text.partition("=")
        key = target.strip()
        if not equals or not key:
            raise UserError("this sets nothing", where=place, remedy="Write NAME.KEY=VALUE,VALUE, as in ppo.lam=0.9,1.")
        if key in axes:
            raise UserError(f"{key!r} is set twice", where=place, remedy="Write all its values behind one --set.")
        axes[key] = Axis(key, split_values(raw, place))
    return tuple(axes.values())


def check_axes(axes: Iterable[Axis]) -> None:
    """Raises UserError for a key without a value, and for several seeds."""
    for axis in axes:
        if not axis.values:
            raise UserError("there is no value", where=f"--set {axis.key}", remedy="Write NAME.KEY=VALUE,VALUE.")
        if axis.key == "seed" and len(axis.values) > 1:
            remedy = f"Write --seeds {','.join(axis.values)}: seeds are averaged over, and not compared."
            raise UserError("seeds are no setting", where=f"--set {axis.key}", remedy=remedy)


def split_values(raw: str, place: str) -> tuple[str, ...]:
    """The text of each value, as it was written.

    >>> split_values("0.1, [a, b], 'c, d'", "")
    ('0.1', '[a, b]', "'c, d'")
    """
    text = f"[{raw}\n]"  # on a line of its own, for a comment would take the bracket in
    parse_yaml(text, place)  # for what it refuses
    items: list[Any] = getattr(yaml.compose(text, Loader=yaml.SafeLoader), "value", [])
    return tuple(text[item.start_mark.index : item.end_mark.index].strip() for item in items)


def parse_seeds(text: str, first: int) -> tuple[int, ...]:
    """`3`: so many, from the recipe's own on. `1,4,7`: these. Raises UserError."""
    place, remedy = (
        f"--seeds {text}",
        "Give a number of seeds, as in --seeds 3, or a list of them, as in --seeds 1,4,7.",
    )
    words = [word.strip() for word in text.split(",")]
    if not all(_WHOLE.fullmatch(word) for word in words):
        raise UserError("these are no seeds", where=place, remedy=remedy)
    numbers = [int(word) for word in words]
    return check_seeds(range(first, first + numbers[0]) if len(numbers) == 1 else numbers, place)


def check_seeds(seeds: Sequence[int], place: str = "seeds") -> tuple[int, ...]:
    """The seeds, if there is one and none is named twice. Raises UserError."""
    if not seeds:
        raise UserError("without a seed there is no run", where=place, remedy="As in --seeds 3, or --seeds 1,4,7.")
    if len(set(seeds)) < len(seeds):
        raise UserError("a seed is named twice", where=place, remedy="A run with the same seed is the same run.")
    return tuple(seeds)


def settings_of(axes: Sequence[Axis]) -> list[dict[str, str]]:
    """Every combination of the values of the keys that have several; the last key changes fastest."""
    swept = [axis for axis in axes if len(axis.values) > 1]
    return [
        dict(zip([axis.key for axis in swept], values, strict=True)) for values in product(*(a.values for a in swept))
    ]


def plan_runs(
    recipe: Recipe, axes: Sequence[Axis], seeds: Sequence[int], registry: Registry, name: str
) -> list[PlannedRun]:
    """All runs of a sweep, seed by seed, so that a sweep that is stopped has tried every setting equally often.

    Raises UserError for the first combination that is no recipe, naming it.
    """
    runs: dict[str, PlannedRun] = {}
    for seed in seeds:
        for setting in settings_of(axes):
            every = {axis.key: axis.values[0] for axis in axes} | setting | {"seed": str(seed)}
            try:
                plan = make_plan(apply_overrides(recipe, [f"{key}={value}" for key, value in every.items()]), registry)
            except UserError as error:
                what = f"{error.what} (in the run with {label_of(setting)})" if setting else error.what
                raise UserError(what, where=error.where, remedy=error.remedy) from error
            digest = hashlib.sha256(" ".join(step.key for step in plan.steps).encode()).hexdigest()
            one = PlannedRun(run_name(name, setting, seed), setting, seed, plan, digest)
            if digest in runs:
                what = f"{label_of(setting)} is the same as {label_of(runs[digest].setting)}"
                raise UserError(what, where="--set", remedy="Give each value once.")
            runs[digest] = one
    return list(runs.values())


def run_name(sweep: str, setting: Mapping[str, str], seed: int) -> str:
    """The name of a run's folder. Settings that a folder's name cannot hold are told apart by a digest.

    >>> run_name("quick", {"ppo.kl_coef": "0.05"}, 2)
    'quick-ppo.kl_coef-0.05-seed-2'
    """
    whole = "-".join(f"{key}-{value}" for key, value in setting.items())
    kept = re.sub(r"[^\w.-]+", "-", whole, flags=re.ASCII)[:MAX_NAME].strip("-.")
    lossy = kept != whole or kept != kept.lower()  # some file systems fold case
    digest = hashlib.sha256(whole.encode()).hexdigest()[:6] if lossy else ""
    return "-".join(filter(None, [sweep, kept, digest, f"seed-{seed}"]))


def check_name(name: str) -> str:
    """A sweep's name. Raises UserError when it cannot be a folder's."""
    if not re.fullmatch(r"[A-Za-z0-9_][\w-]{0,60}", name, flags=re.ASCII):
        what = f"{name!r} cannot be the name of a sweep"
        raise UserError(what, where="--name", remedy="Take letters, digits, - and _, at most 60.")
    return name


def seed_of(recipe: Recipe, axes: Sequence[Axis]) -> int:
    """The first seed of a sweep: the recipe's, or that of --set seed=N."""
    return apply_overrides(recipe, [f"seed={axis.values[0]}" for axis in axes if axis.key == "seed"]).seed
