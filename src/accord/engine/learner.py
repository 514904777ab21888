"""The learner: gradients of sums, one division, one clip, one optimizer step on fp32 masters.

Computation runs on a copy of the weights in the compute dtype, cast once an optimizer step. Each micro-batch's
gradients are added to the masters' in fp32 as soon as they exist. Losses are sums with a count of units, and the
division by the count of the whole optimizer step comes last, so the micro-batch size never changes a gradient. Where
an optimizer step adds up losses of different units (tokens of responses, tokens of demonstrations), each is a `Term`
that knows its own count beforehand, and is divided by it as it comes.
Weights that are not trained have no masters: they are held in the compute dtype alone.

In a group of processes (`accord.engine.group`) each adds the gradients of its own micro-batches, and `step` sums them,
and what they are divided by, over the processes: the gradient is that of a process by itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType

import torch
from torch import Tensor, nn

from accord.algorithms.loss import Loss
from accord.engine.config import Optimization
from accord.engine.gradients import add_to_master, counted, sum_gradients
from accord.engine.group import current, summed
from accord.engine.machine import keep_freed_memory
from accord.errors import UserError
from accord.models.compute import cast_for_compute, compute_device
from accord.models.recompute import recompute
from accord.placement import recomputes

_UNITS = "units"  # among sums of metrics
_MAX_SKIPPED = 5  # optimizer steps in a row with a gradient that is not finite, before the run is stopped


@dataclass(frozen=True, slots=True)
class Term:
    """A part of what an optimizer step minimises: weight * (sum of `loss` over its micro-batches) / num_units.

    num_units: those of the whole optimizer step. The metrics of the loss, too, are divided by them, and not weighted.
    """

    loss: Loss
    num_units: float
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one optimizer step did. `metrics`: each loss metric, averaged over the units of the step."""

    grad_norm: float
    applied: bool
    metrics: dict[str, float]


class Learner:
    """Trains a module that was loaded in fp32; from here on the module computes in `dtype`.

    trained: the parameters, by name; by default all of the module that require a gradient. A module that others train,
    too, is cast in part: their parameters stay as they are until their own learner takes them.
    """

    def __init__(
        self,
        module: nn.Module,
        dtype: torch.dtype,
        optimization: Optimization,
        trained: Mapping[str, nn.Parameter] | None = None,
    ) -> None:
        keep_freed_memory()
        if trained is None:
            trained = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
        self._parameters = dict(trained)
        # Of these a process has rows alone, in fp32: they are masters, and are cast as they are gathered.
        self._split: dict[str, nn.Parameter] = {}
        if current().size > 1:
            self._parameters = sharding().shard(module, trained, dtype)
            self._split = {name: one for name, one in self._parameters.items() if _is_split(one)}
        own = {id(parameter) for name, parameter in self._parameters.items() if name not in self._split}
        device = compute_device()
        for name, parameter in self._parameters.items():
            if name not in self._split:
                parameter.data = parameter.data.to(device)
        originals = {name: parameter.data for name, parameter in self._parameters.items()}
        cast_for_compute(module, dtype, only=lambda one: id(one) in own or not (one.requires_grad or _is_split(one)))
        if recomputes(current().recompute, current().size > 1 and sharding().has_parts(module)):
            recompute(module)
        self._masters = {
            name: nn.Parameter(sharding().local(parameter))
            if name in self._split
            else parameter
            if parameter.dtype == torch.float32
            else nn.Parameter(originals[name])
            for name, parameter in self._parameters.items()
        }
        for name, parameter in self._parameters.items():
            if self._masters[name] is not parameter and name not in self._split:
                parameter.register_post_accumulate_grad_hook(partial(add_to_master, master=self._masters[name]))
        self._optimization = optimization
        self._optimizer = torch.optim.AdamW(
            self._masters.values(),
            lr=0.0,
            betas=optimization.betas,
            eps=optimization.eps,
            weight_decay=optimization.weight_decay,
            fused=True,
        )
        self._units = 0.0
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, float] = {}  # units of the sums that are of terms
        self._skipped = 0

    @property
    def own(self) -> dict[str, Tensor]:
        """The weights in fp32, by name: of what is split the rows that this process holds."""
        return {name: master.detach() for name, master in self._masters.items()}

    def whole(self, own: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """All rows of what is like `own`, to write it. What is split is gathered, a tensor at a time, when the leading
        process asks for it (`accord.engine.leading.lead`)."""
        return self._whole(own, self._split)

    def _whole(self, own: Mapping[str, Tensor], split: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        found: Mapping[str, Tensor] = sharding().whole_of(own, split) if split else dict(own)
        return found

    def rows(self, whole: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The inverse of `whole`, of what all processes have."""
        return {name: self._own(name, tensor) for name, tensor in whole.items()}

    @property
    def masters(self) -> Mapping[str, Tensor]:
        """The weights in fp32, by name, as `whole` gives them."""
        return self.whole(self.own)

    def accumulate(self, loss: Loss) -> None:
        """Adds the gradient of the sum, and counts its units."""
        loss = counted(loss)
        if loss.total.requires_grad:
            loss.total.backward()
        self._units += float(loss.num_units)
        for name, value in loss.metrics.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value

    def add(self, *terms: Term) -> None:
        """Adds the gradient of terms that were computed together, each already divided. Not to be mixed with
        `accumulate` in one optimizer step."""
        assert not self._units, "an optimizer step adds up either sums or terms"
        terms = tuple(replace(term, loss=counted(term.loss)) for term in terms)
        wanted = [t for t in terms if t.num_units and t.weight and t.loss.total.requires_grad]
        if wanted:
            torch.stack([term.loss.total * (term.weight / term.num_units) for term in wanted]).sum().backward()
        for term in terms:
            for name, value in term.loss.metrics.items():
                self._sums[name] = self._sums[name] + value if name in self._sums else value
                self._counts[name] = max(term.num_units, 1.0)

    def step(self, learning_rate: float) -> StepReport:
        """Divides by the count, clips by global norm, steps, casts. A gradient that is not finite is dropped whole."""
        sums = summed({_UNITS: self._units, **{name: float(value) for name, value in self._sums.items()}})
        units, counts = max(sums.pop(_UNITS), 1.0), self._counts
        self._units, self._sums, self._counts = 0.0, {}, {}
        grads, norm = self._summed_gradients()
        norm /= units
        finite = math.isfinite(norm)
        if finite and grads:
            clip = min(1.0, self._optimization.max_grad_norm / (norm + 1e-6))
            torch._foreach_mul_(grads, clip / units)
            for group in self._optimizer.param_groups:
                group["lr"] = learning_rate
                if self._optimization.eps_before_correction:
                    group["eps"] = self._optimization.eps_at(1 + self._num_steps())
            self._optimizer.step()
            self._cast()
        self._optimizer.zero_grad(set_to_none=True)
        self._skipped = 0 if finite else self._skipped + 1
        if self._skipped >= _MAX_SKIPPED:
            raise UserError(
                f"the gradient was not finite in {_MAX_SKIPPED} optimizer steps in a row",
                remedy="Lower the learning rate, or look for empty or very long examples in the data.",
            )
        return StepReport(norm, finite, {name: value / counts.get(name, units) for name, value in sums.items()})

    def _summed_gradients(self) -> tuple[list[Tensor], float]:
        """The gradients of the masters, over all processes, and the norm of all of them."""
        sum_gradients([master for name, master in self._masters.items() if name not in self._split])
        for name, parameter in self._split.items():
            self._masters[name].grad = sharding().taken_gradient(parameter)
        grads = {name: master.grad for name, master in self._masters.items() if master.grad is not None}
        if not grads:
            return [], 0.0
        kept = [grad for name, grad in grads.items() if name not in self._split]
        norm = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(kept)))) if kept else 0.0
        if self._split:
            norm = math.hypot(
                norm, math.sqrt(sharding().squared_norm(grads[name] for name in self._split if name in grads))
            )
        return list(grads.values()), norm

    def _own(self, name: str, whole: Tensor) -> Tensor:
        """Of a master, or of what there is of it, the rows that this process holds."""
        return sharding().rows_of(whole) if name in self._split else whole

    def _num_steps(self) -> int:
        """Optimizer steps that were taken."""
        return max((int(state["step"]) for state in self._optimizer.state.values()), default=0)

    def load_own(self, own: Mapping[str, Tensor]) -> None:
        """Puts other weights, like `own`, in place of the trained ones. The moments stay."""
        for name, master in self._masters.items():
            master.data.copy_(own[name])
        self._cast()

    def load_masters(self, masters: Mapping[str, Tensor]) -> None:
        """As `load_own`, with what `masters` gave, read again."""
        for name, master in self._masters.items():
            master.data.copy_(self._own(name, masters[name]))
        self._cast()

    def state(self) -> Mapping[str, Tensor]:
        """Masters and optimizer moments by name: all that a checkpoint needs, as `whole` gives them, so that any number
        of processes can go on from it."""
        own = {f"master.{name}": master for name, master in self.own.items()}
        split: dict[str, Tensor] = {f"master.{name}": one for name, one in self._split.items()}
        for name, master in self._masters.items():
            for key, value in self._optimizer.state.get(master, {}).items():
                own[f"{key}.{name}"] = value
                if name in self._split and key != "step":
                    split[f"{key}.{name}"] = self._split[name]
        own["skipped"] = torch.tensor(self._skipped)
        return self._whole(own, split)

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `state`."""
        for name, master in self._masters.items():
            master.data.copy_(self._own(name, tensors[f"master.{name}"]))
            keys = ("step", "exp_avg", "exp_avg_sq")
            if f"step.{name}" in tensors:
                # As the optimizer made them: a fused one has its counts of steps beside the weights.
                self._optimizer.state[master] = {
                    key: (tensors[f"{key}.{name}"] if key == "step" else self._own(name, tensors[f"{key}.{name}"])).to(
                        master.device, copy=True
                    )
                    for key in keys
                }
        self._skipped = int(tensors["skipped"])
        self._cast()

    @torch.no_grad()
    def _cast(self) -> None:
        for name, parameter in self._parameters.items():
            if self._masters[name] is not parameter and name not in self._split:
                parameter.copy_(self._masters[name])


def sharding() -> ModuleType:
    """Imported by those processes alone that are in a group: it is much."""
    from accord.engine import sharding

    return sharding


def _is_split(parameter: Tensor) -> bool:
    return current().size > 1 and bool(sharding().is_split(parameter))
