"""Whether what judges was held out: from what the policies were optimised for, and from what they learned. Not a step.

A reward reaches a policy by many ways: as what PPO climbs, through the policy that it started from, through labels that
it gave, or through a reward model that learned from such labels. So all that is behind a policy is looked through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from accord.data.mixtures import HELD_OUT
from accord.evaluate.constraints import read_constraints
from accord.paths import user_path
from accord.steps.base import Caution, Link, PlannedStep
from accord.steps.trained_on import BY

Behind = Mapping[tuple[str, str | None], str]  # (a step's key, the part of its data) -> what the recipe calls it

_ASIDE = ("prompts", "validation", "watch", "held_out", "borderline")  # answered, looked at
PARTS = ("rewards", "main", "others")  # what a reward is made of
_LABELS = ("data", "comparisons", *PARTS)  # what a reward learned from, or is made of


def cautions(step: PlannedStep) -> Iterator[Caution]:
    """Of an evaluation with the inputs by (or none), policies, second, proxy and prompts."""
    judges, policies = step.parents["by"], step.parents["policies"]
    by = _behind(judges, _labels)
    rewards = {of for of in by if of[1] is None}  # the judge, and those that it is made of
    learners = {link.name: _behind([link], _anything) for link in policies}

    trained = [name for name, behind in learners.items() if behind.keys() & rewards]
    if trained:
        whole = all((judges[0].step.key, None) in learners[name] for name in trained)
        of_it = "it" if whole else "a part of it"
        what = f"{judges[0].name!r} judges what was trained against {of_it}: {', '.join(trained)}."
        yield Caution("by", what, "Let another reward judge, one that no policy was trained against.")

    learners |= {link.name: _behind([link], _labels) for link in step.parents["proxy"]}
    others = {name: behind for name, behind in learners.items() if not behind.keys() & rewards}  # those are said
    second = _behind(step.parents["second"], _labels)
    shared = [
        *(one for judge in judges for one in _shared(repr(judge.name), by, {"the second evaluator": second, **others})),
        *_shared("the second evaluator", second, learners),
    ]
    if shared:
        key = "second" if second.keys() & by.keys() or len(shared) > 1 else "by"
        yield Caution(key, f"{'; '.join(shared)}.", "Let each learn from a part that nothing else learns from.")

    (prompts,) = step.parents["prompts"]
    seen = [link.name for link in policies if (prompts.step.key, prompts.part) in _behind([link], _prompts_of(step))]
    if seen:
        what = f"{prompts.name} was trained on: {', '.join(seen)}."
        yield Caution("prompts", what, "Evaluate on prompts that no policy was trained on.")


def learned_from(link: Link) -> Behind:
    """The data that a reward, or data itself, is made of."""
    return _behind([link], _labels)


def red_team_cautions(step: PlannedStep) -> Iterator[Caution]:
    """Of a suite of attacks with the inputs policies, reward and judge: whether files of it, or who decides, reached a
    policy before."""
    config: Any = step.config
    policies, files = step.parents["policies"], {_resolved(name): name for name in config.suite}
    for link in policies:
        prompts = (one for one in walk([link], lambda _, field: field in BY) if one.step.kind == "data")
        again = sorted({files[path] for one in prompts for path in _files(one) if path in files})
        if again:
            what = f"{link.name} was trained on the prompts of {', '.join(again)}: that they are withstood says little."
            yield Caution("suite", what, "Name a suite of attacks that nothing was trained on, too.")
    for part in step.parents["prompts"]:
        again = [one.name for one in policies if (part.step.key, part.part) in _behind([one], _any_prompts)]
        if again:
            what = f"{part.name} was trained on: {', '.join(again)}."
            yield Caution("prompts", what, "Attack with prompts that no policy was trained on.")
    for link in step.parents["reward"]:
        trained = [one.name for one in policies if (link.step.key, None) in _behind([one], _anything)]
        if trained:
            what = f"{link.name!r} decides about what was trained against it: {', '.join(trained)}."
            yield Caution("reward", what, "Let another reward decide, or `by` alone.")
    yield from _decided_by(step)


def dialogue_cautions(step: PlannedStep) -> Iterator[Caution]:
    """Of dialogues with the inputs policies, prompts and judge: whether a policy was trained to hold to the same
    constraints, or on the same prompts, and who judges."""
    config: Any = step.config
    policies, own = step.parents["policies"], _texts(config.constraints)
    taught = {link.name: own & set().union(*(_texts(one) for one in _constraints_behind(link))) for link in policies}
    if known := {name: len(texts) for name, texts in taught.items() if texts}:
        told = ", ".join(f"{name} to {num} of {len(own)}" for name, num in known.items())
        what = f"policies were trained to hold to the same constraints: {told}."
        yield Caution("constraints", what, "Measure with constraints that nothing was trained on, as builtin:test.")
    prompts = {(link.step.key, link.part) for link in step.parents["prompts"]}
    seen = [link.name for link in policies if prompts & _behind([link], lambda _, field: field in BY).keys()]
    if seen:
        what = f"{config.prompts} was trained on: {', '.join(seen)}."
        yield Caution("prompts", what, "Take prompts that no policy was trained on.")
    yield from _decided_by(step)


def _decided_by(step: PlannedStep) -> Iterator[Caution]:
    """Of a step with the inputs policies and judge, or an endpoint: whether the judge is one of the policies, or what
    one has learned from."""
    config: Any = step.config
    own = {link.step.key for link in step.parents["policies"]}
    for link in step.parents["judge"]:
        if link.step.key in own:
            yield Caution("judge", f"{link.name} judges its own responses.", "Let another one judge.")
    if config.endpoint is not None:
        yield from judge_cautions(step, "by", (config.endpoint, config.model))


def _constraints_behind(link: Link) -> set[str]:
    steps: list[Any] = [one.step for one in walk([link], _anything) if one.step.kind == "ghost_attention"]
    return {step.config.constraints for step in steps}


def _texts(constraints: str) -> set[str]:
    return {one.text for one in read_constraints(constraints)}


def judge_cautions(step: PlannedStep, key: str, who: Who) -> Iterator[Caution]:
    """Of a judge whose labels a policy has learned from, or whose endpoint was its reward. who: endpoint and model."""
    trained = [link.name for link in step.parents["policies"] if who in _judges_behind(link)]
    if trained:
        what = f"{who[1]} judges what has learned from its own verdicts: {', '.join(trained)}."
        yield Caution(key, what, "Let another judge evaluate, one that no policy has learned from.")


Who = tuple[str, str | None]  # the endpoint and the model there


def who_judges(step: PlannedStep) -> Who:
    """Of a `judge` step: its endpoint and model, or the key of its policy."""
    config: Any = step.config
    return (
        (config.endpoint, config.model) if config.endpoint is not None else (step.parents["policy"][0].step.key, None)
    )


def _judges_behind(link: Link) -> set[Who]:
    return {who_judges(one.step) for one in walk([link], _anything) if one.step.kind == "judge"}


def _resolved(source: str) -> Path:
    return user_path(source).resolve()


def _files(link: Link) -> list[Path]:
    """Those of a data set of the recipe's, or of the part that is meant."""
    config: Any = link.step.config
    sources = {link.part or "": config.source} if isinstance(config.source, str) else config.source
    own = [sources[link.part]] if link.part in sources else sources.values()
    return [_resolved(one) for one in own if ":" not in one]


def walk(links: Iterable[Link], follows: Callable[[PlannedStep, str], bool]) -> Iterator[Link]:
    """The links, and all that is behind them by the inputs of a step that `follows` says yes to, each once. What a
    mixture holds out shares no prompt with what else it was made of, and nothing is behind it."""
    found: set[tuple[str, str | None]] = set()
    waiting = list(links)
    while waiting:
        link = waiting.pop()
        if (link.step.key, link.part) not in found:
            found.add((link.step.key, link.part))
            yield link
            if link.part != HELD_OUT or link.step.kind != "mix":
                waiting += [one for field, of in link.step.parents.items() if follows(link.step, field) for one in of]


def _behind(links: Iterable[Link], follows: Callable[[PlannedStep, str], bool]) -> Behind:
    """What `walk` meets, with its names."""
    return {(link.step.key, link.part): link.name for link in walk(links, follows)}


def _anything(step: PlannedStep, field: str) -> bool:
    """Demonstrations are the zero of a reward's scale, and a policy learns from them."""
    return field not in _ASIDE and (field != "demonstrations" or step.kind == "distill")


def _labels(step: PlannedStep, field: str) -> bool:
    """Not the backbone of a reward: a judge that starts from the SFT policy has labels of its own all the same. Nor who
    gave the labels: one annotator can label for both, as people do."""
    return field in _LABELS


def _any_prompts(step: PlannedStep, field: str) -> bool:
    return field in BY


def _prompts_of(evaluation: PlannedStep) -> Callable[[PlannedStep, str], bool]:
    """Without prompts that begin where those of the evaluation have ended."""
    config: Any = evaluation.config
    return lambda step, field: (
        field in BY and (field != "prompts" or getattr(step.config, "skip_prompts", 0) < config.num_prompts)
    )


def _shared(name: str, own: Behind, others: Mapping[str, Behind]) -> list[str]:
    """What was learned from by `name` and others: one sentence without its full stop, or none."""
    parts = {of: part for of, part in own.items() if of[1] is not None}
    found = {other: parts.keys() & behind.keys() for other, behind in others.items()}
    if not any(found.values()):
        return []
    data = sorted({parts[of] for both in found.values() for of in both})
    return [f"{name} learned from the same data ({', '.join(data)}) as {', '.join(one for one in found if found[one])}"]
