"""What is said of a study of over-optimisation before it runs. Not a step."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final, cast

from accord.errors import did_you_mean
from accord.steps.base import Caution, Contradiction, Link, PlannedStep
from accord.steps.held_out import PARTS, walk

FEWEST_SAMPLES: Final = 8  # of a prompt: n = 2, 4 and 8 are the three distances that a curve needs
FEWEST_LOOKS: Final = 4  # at a training: the first is at the start


def check(step: PlannedStep) -> Iterator[Caution]:
    """What could give no curve, and what would not be one of the start policy."""
    config: Any = step.config
    if not config.proxies and not config.policies:
        what = "neither a proxy nor a policy is named, so there is nothing to draw"
        raise Contradiction("proxies", what, "Name rewards as `proxies`, or policies that gold watched as `policies`.")
    (gold,) = step.parents["gold"]
    keys: list[str] = [gold.step.key]
    for link in step.parents["proxies"]:
        if link.step.key in keys:
            also = "is the gold reward" if link.step.key == gold.step.key else "is among the proxies twice"
            raise Contradiction("proxies", f"{link.name!r} {also}", "Leave it out.")
        if gold.step.key in _made_of(link):
            raise Contradiction("proxies", f"{link.name!r} is made of the gold reward", "Leave it out.")
        keys.append(link.step.key)
    known, _ = (_curves(step, field) for field in ("proxies", "policies"))
    unknown = next((name for pair in config.compare for name in pair if name not in known), None)
    if unknown is not None:
        what = f"{unknown!r} is no curve of the proxies"
        raise Contradiction("compare", what, did_you_mean(unknown, known))
    if (same := next((first for first, second in config.compare if first == second), None)) is not None:
        raise Contradiction("compare", f"{same!r} is compared with itself", f"Known: {', '.join(known)}.")
    (samples,) = step.parents["samples"]
    if samples.step.kind == "sample":
        of: Any = samples.step.config
        if of.num_responses < FEWEST_SAMPLES:
            name, num = samples.step.name, of.num_responses
            what = f"{name!r} has {num} responses to a prompt, and a curve needs {FEWEST_SAMPLES}"
            raise Contradiction("samples", what, f"Set {name}.num_responses to 64 or more.")
        if len(of.policies) * len(of.temperatures) > 1:
            what = f"{samples.step.name!r} mixes several policies or temperatures, and the best of n is of one."
            yield Caution("samples", what, "Sample from the start policy alone, at the temperature of its training.")
    else:
        what = f"the responses of {samples.name!r} were not sampled here, so their distance from a policy is not known."
        yield Caution("samples", what, "Name a `sample` step.")
    for link in step.parents["policies"]:
        yield from _of_training(link, gold, samples)


def _of_training(link: Link, gold: Link, samples: Link) -> Iterator[Caution]:
    """What a training would have no points for, and what its points would not mean."""
    training: Any = link.step.config
    if gold.step.key not in [one.step.key for one in link.step.parents.get("watch", ())]:
        what = f"{gold.name!r} did not watch the training of {link.name!r}"
        raise Contradiction("policies", what, f"Add `watch: [{gold.name}]` to {link.name!r}, or leave it out.")
    if gold.step.key in _trained_against(link):
        what = f"{link.name!r} was trained against the gold reward"
        raise Contradiction("policies", what, "Train it against a proxy.")
    start, reference = ([one.step.key for one in link.step.parents.get(field, ())] for field in ("start", "reference"))
    if reference and reference != start:
        what = f"{link.name!r} starts elsewhere than at its reference, where its distances count from."
        yield Caution("policies", what, "Read its points and not its curve, or train it from its reference.")
    last = training.num_iterations - 1  # which is looked at, too
    if (looks := last // training.watch_every + 1 + (last % training.watch_every > 0)) < FEWEST_LOOKS:
        what = f"{gold.name!r} looks at {link.name!r} {looks} times, and a curve needs {FEWEST_LOOKS}."
        yield Caution("policies", what, f"Lower {link.name}.watch_every, or train it for longer.")
    if samples.step.kind == "sample":
        many, sampled = samples.step.name, cast(Any, samples.step.config)
        policies = [one.step.key for one in samples.step.parents["policies"]]
        if start and start[0] not in policies:
            (begin,) = link.step.parents["start"]
            what = f"{link.name!r} starts from {begin.step.name!r}, and {many!r}, the unit of scores, is of another."
            yield Caution("samples", what, "Sample from the policy that the trainings start from.")
        elif training.temperature not in sampled.temperatures:
            what = f"{link.name!r} samples at another temperature than {many!r}, the unit of scores."
            yield Caution("samples", what, f"Set {many}.temperatures to [{training.temperature:g}].")


def _made_of(link: Link) -> set[str]:
    """The keys of a reward, and of those that it asks."""
    return {one.step.key for one in walk([link], lambda _, field: field in PARTS)}


def _trained_against(link: Link) -> set[str]:
    """The keys of what a policy and those that it began from were trained against."""
    return {one.step.key for one in walk([link], lambda _, field: field in ("start", "reward", *PARTS))}


def _curves(step: PlannedStep, field: str) -> Collection[str]:
    """The names of the curves of a field's steps."""
    from accord.evaluate.overoptimization import families

    try:
        return families([link.name for link in step.parents[field]]).keys()
    except ValueError as error:
        what = f"two curves would be called {str(error)!r}: names that differ in a number at the end are seeds of one"
        raise Contradiction(field, what, "Give one of the steps another name.") from error
