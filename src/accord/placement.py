"""Where the steps of a recipe are computed: the key `cluster`. No result depends on it but by the order of sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from accord.config_errors import explain
from accord.errors import UserError
from accord.strict import StrictModel
from accord.yaml_lines import KeyPath

Sharding = Literal["auto", "none", "full"]
Recompute = Literal["auto", "on", "off"]
SPLIT_ABOVE: Final = 2_000_000_000  # parameters in a model's layers, beyond which `auto` splits them


def splits(sharding: Sharding, in_layers: int) -> bool:
    """Whether a model with so many parameters in its layers is split over several workers."""
    return sharding == "full" or (sharding == "auto" and in_layers > SPLIT_ABOVE)


def recomputes(setting: Recompute, split: bool) -> bool:
    """Whether activations of a model that is trained, split or not, are computed again in the backward pass."""
    return split if setting == "auto" else setting == "on"


class Cluster(StrictModel):
    """kind: `local`, processes on this machine; `ray`, actors of a Ray cluster. workers: how many, each of which
    computes on a device of its own (null: one for each GPU, or for each machine where there is none). address: of the
    Ray cluster, as `ray start` prints it (null: the one that RAY_ADDRESS names, or else one of this machine's own).

    gpus_per_worker: 0 or 1 (null: 1 where the cluster has GPUs). cpus_per_worker: cores that are kept free for each
    (null: 1). timeout: seconds after which a worker that does not answer is given up, and the step with it. sharding:
    `full` splits the layers of models over the workers, with gradients and moments of what is trained (FSDP2); `none`
    keeps all of it on each; `auto` splits models with more than 2 billion parameters in their layers.
    activation_checkpointing: whether the backward pass computes activations again, layer by layer, where they would be
    kept (`auto`: those of models that are split). Gradients are the same. cpu_offload: layers that are split lie in the
    main memory, with gradients and moments, and come to the GPU one at a time.
    """

    kind: Literal["local", "ray"]
    workers: int | None = Field(None, gt=0, le=4096)
    address: str | None = None
    gpus_per_worker: int | None = Field(None, ge=0, le=1)
    cpus_per_worker: float | None = Field(None, gt=0)
    timeout: float = Field(600.0, ge=1)
    sharding: Sharding = "auto"
    activation_checkpointing: Recompute = "auto"
    cpu_offload: bool = False

    @field_validator("activation_checkpointing", mode="before")
    @classmethod
    def _of_yaml(cls, value: Any) -> Any:
        """To which `on` and `off` are true and false."""
        return ("on" if value else "off") if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.kind == "local" and self.address is not None:
            raise ValueError("address is a Ray cluster's: leave it out, or write kind: ray")
        if self.cpu_offload and self.sharding == "none":
            raise ValueError("cpu_offload is for layers that are split, and sharding: none splits none: leave one out")
        if self.cpu_offload and (self.workers or (1 if self.kind == "local" else 2)) == 1:
            raise ValueError("cpu_offload is for layers that are split, and one worker splits none: leave it out")
        return self


def read_cluster(value: Any, place: Callable[[KeyPath], str]) -> Cluster | None:
    """What the key `cluster` says: a map, or a kind alone. place: of a key below it. Raises UserError."""
    if value is None:
        return None
    if isinstance(value, str):
        value = {"kind": value}
    if not isinstance(value, dict):
        raise UserError("`cluster` is neither a kind nor a map", where=place(()), remedy="As in `cluster: ray`.")
    try:
        return Cluster(**value)
    except ValidationError as error:
        problem = error.errors()[0]
        what, remedy = explain(problem, Cluster.model_fields)
        raise UserError(what, where=place(problem["loc"]), remedy=remedy) from error
