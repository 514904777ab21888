"""What `accord check` shows and `accord run` asks before it begins."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from accord.estimate.limits import refuse_what_cannot_fit
from accord.estimate.rows import Estimate, Estimator
from accord.estimate.table import lines
from accord.estimate.timing import rates_of
from accord.machine import Memory, free_disk, memory
from accord.models.compute import compute_device, compute_dtype, compute_place, describe_compute
from accord.monitor.cost import Assumptions, cost_of, in_words
from accord.plan import Plan
from accord.steps.base import Registry
from accord.store.artifacts import Store
from accord.store.spending import Spent


@dataclass(frozen=True, slots=True)
class Checked:
    """An estimate, and the machine that it is for."""

    plan: Plan
    estimate: Estimate
    memory: Memory
    free_disk: int
    store: str
    timed: bool
    elsewhere: frozenset[str] = frozenset()  # steps that the workers of a cluster compute

    def lines(self) -> list[str]:
        """The table, and what is below it."""
        compute = describe_compute()
        if self.timed and self.estimate.rates is None:
            compute += "; the model is too large for its speed to be measured here"
        table = lines(self.estimate, compute, self.memory, self.free_disk)
        return [*table, *self._cluster(), *self._energy(), *self.estimate.cautions]

    def _cluster(self) -> list[str]:
        """What is said of steps that are computed elsewhere."""
        if not self.elsewhere:
            return []
        return [f"cluster: {len(self.elsewhere)} steps are its workers', and not held against this machine's memory"]

    def _energy(self) -> list[str]:
        """Of what is left to run, where its time is known."""
        seconds, assumed = self.estimate.seconds, Assumptions.of()
        if not seconds:
            return []
        kind, name, num = compute_place()
        cores = torch.get_num_threads()
        planned = Spent(kind, name, num, seconds, seconds * (cores if kind == "cpu" else 1))
        cost = cost_of([planned], assumed)
        return [f"cost: about {in_words(cost)}; accord cost RUN says what it was"] if cost else []

    def refuse(self) -> None:
        """Raises UserError when a step cannot fit."""
        refuse_what_cannot_fit(self.estimate, self.plan, self.memory, self.free_disk, self.store, self.elsewhere)


def check(plan: Plan, registry: Registry, store: Store, *, timed: bool = True, anew: bool = False) -> Checked:
    """Estimates what is left to run of a plan. timed: measure this machine's speed, which takes some seconds. anew:
    measure it even if it is known.

    Reads the data, and fetches a built-in model that is not in the cache. Raises UserError as the steps would.
    """
    available, dtype = _memory(), compute_dtype()  # before this process itself takes some
    estimator = Estimator(plan, registry, store)
    rates = rates_of(estimator.model, dtype, store.root, anew=anew) if timed else None
    estimate = estimator.estimate(rates, dtype.itemsize)
    disk, elsewhere = free_disk(store.root), computed_elsewhere(plan, registry)
    return Checked(plan, estimate, available, disk, str(store.root), timed, elsewhere)


def computed_elsewhere(plan: Plan, registry: Registry) -> frozenset[str]:
    """The steps that the workers of a Ray cluster compute. Those of a local one share this machine's memory."""
    cluster = plan.recipe.cluster
    if cluster is None or cluster.kind == "local":
        return frozenset()
    return frozenset(step.name for step in plan.steps if registry[step.kind].shares(step.config))


def _memory() -> Memory:
    """Of what models are computed on."""
    device = compute_device()
    if device.type == "cpu":
        return memory()
    free, total = torch.cuda.mem_get_info(device)
    return Memory(total, total, free)


def refuse(plan: Plan, registry: Registry, store: Store) -> None:
    """Raises UserError when a step that is left to run cannot fit into memory or on the disk."""
    check(plan, registry, store, timed=False).refuse()
