"""The learner: gradients of sums, one division, one clip, one optimizer step on fp32 masters.

Computation runs on a copy of the weights in the compute dtype, cast once an optimizer step. Each micro-batch's
gradients are added to the masters' in fp32 as soon as they exist. Losses are sums with a count of units, and the
division by the count of the whole optimizer step comes last, so the micro-batch size never changes a gradient. Where
an optimizer step adds up losses of different units (tokens of responses, tokens of demonstrations), each is a `Term`
that knows its own count beforehand, and is divided by it as it comes.
Weights that are not trained have no masters: they are held in the compute dtype alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from accord.algorithms.loss import Loss
from accord.engine.config import Optimization
from accord.engine.machine import keep_freed_memory
from accord.errors import UserError
from accord.models.compute import cast_for_compute, compute_device

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
        own = {id(parameter) for parameter in trained.values()}
        device = compute_device()
        for parameter in self._parameters.values():
            parameter.data = parameter.data.to(device)
        originals = {name: parameter.data for name, parameter in self._parameters.items()}
        cast_for_compute(module, dtype, only=lambda parameter: not parameter.requires_grad or id(parameter) in own)
        self._masters = {
            name: parameter if parameter.dtype == torch.float32 else nn.Parameter(originals[name])
            for name, parameter in self._parameters.items()
        }
        for name, parameter in self._parameters.items():
            if self._masters[name] is not parameter:
                parameter.register_post_accumulate_grad_hook(partial(_add_to_master, master=self._masters[name]))
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
    def masters(self) -> dict[str, Tensor]:
        return {name: master.detach() for name, master in self._masters.items()}

    def accumulate(self, loss: Loss) -> None:
        """Adds the gradient of the sum, and counts its units."""
        if loss.total.requires_grad:
            loss.total.backward()
        self._units += float(loss.num_units)
        for name, value in loss.metrics.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value

    def add(self, *terms: Term) -> None:
        """Adds the gradient of terms that were computed together, each already divided. Not to be mixed with
        `accumulate` in one optimizer step."""
        assert not self._units, "an optimizer step adds up either sums or terms"
        wanted = [t for t in terms if t.num_units and t.weight and t.loss.total.requires_grad]
        if wanted:
            torch.stack([term.loss.total * (term.weight / term.num_units) for term in wanted]).sum().backward()
        for term in terms:
            for name, value in term.loss.metrics.items():
                self._sums[name] = self._sums[name] + value if name in self._sums else value
                self._counts[name] = max(term.num_units, 1.0)

    def step(self, learning_rate: float) -> StepReport:
        """Divides by the count, clips by global norm, steps, casts. A gradient that is not finite is dropped whole."""
        units, sums, counts = max(self._units, 1.0), self._sums, self._counts
        self._units, self._sums, self._counts = 0.0, {}, {}
        grads = [master.grad for master in self._masters.values() if master.grad is not None]
        norm = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))) / units if grads else 0.0
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
        return StepReport(norm, finite, {name: float(value) / counts.get(name, units) for name, value in sums.items()})

    def _num_steps(self) -> int:
        """Optimizer steps that were taken."""
        return max((int(state["step"]) for state in self._optimizer.state.values()), default=0)

    def load_masters(self, masters: Mapping[str, Tensor]) -> None:
        """Puts other weights, as `masters` gave them, in place of the trained ones. The moments stay."""
        for name, master in self._masters.items():
            master.data.copy_(masters[name])
        self._cast()

    def state(self) -> dict[str, Tensor]:
        """Masters and optimizer moments by name: all that a checkpoint needs."""
        tensors = {f"master.{name}": master.detach() for name, master in self._masters.items()}
        for name, master in self._masters.items():
            for key, value in self._optimizer.state.get(master, {}).items():
                tensors[f"{key}.{name}"] = value
        tensors["skipped"] = torch.tensor(self._skipped)
        return tensors

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `state`."""
        for name, master in self._masters.items():
            master.data.copy_(tensors[f"master.{name}"])
            keys = ("step", "exp_avg", "exp_avg_sq")
            if f"step.{name}" in tensors:
                # As the optimizer made them: a fused one has its counts of steps beside the weights.
                self._optimizer.state[master] = {
                    key: tensors[f"{key}.{name}"].to(master.device, copy=True) for key in keys
                }
        self._skipped = int(tensors["skipped"])
        self._cast()

    @torch.no_grad()
    def _cast(self) -> None:
        for name, parameter in self._parameters.items():
            if self._masters[name] is not parameter:
                parameter.copy_(self._masters[name])


@torch.no_grad()
def _add_to_master(parameter: Tensor, *, master: Tensor) -> None:
    assert parameter.grad is not None
    if master.grad is None:
        master.grad = parameter.grad.to(torch.float32)
    else:
        master.grad += parameter.grad
    parameter.grad = None
