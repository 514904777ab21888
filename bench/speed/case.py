"""What a case is made of, and the same case with two examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from bench.speed.material import Batch, Material

Settings = dict[str, Any]
Kind = Literal["train", "policy", "sampling", "serving", "startup"]
Make = Literal["pairs", "demonstrations", "rankings", "made_up", "prompts", "conversations", "nothing"]


@dataclass(frozen=True, slots=True)
class Contestant:
    """script: a module of bench.contestants. environment: of bench.speed.environments. dtype: what it multiplies in,
    which its peak is measured in. settings: what it is given beside the case's. variables: of its process."""

    script: str
    environment: str
    dtype: str = "bfloat16"
    settings: Settings = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    pairs: bool = False  # it is given all pairs of a ranking


@dataclass(frozen=True, slots=True)
class Case:
    """about: in a line. first: the contestant that the others are compared with. make: the material, with the
    arguments `of`. settings: what every contestant is given. smoke: what replaces it where only the way is tried.
    compared: of the first step, what must agree. model: a catalog name, or the size of a random Llama."""

    about: str
    kind: Kind
    contestants: Mapping[str, Contestant]
    make: Make
    of: Settings
    settings: Settings
    compared: tuple[str, ...] = ()
    rounds: int = 5
    model: str = "smollm2-135m-instruct"
    first: str = "accord"
    smoke: Settings = field(default_factory=dict)

    def batch(self, material: Material, number: int) -> Batch:
        """The examples of a round."""
        from bench.speed.material import Batch

        if self.make == "nothing":
            return Batch([], [])
        found: Batch = getattr(material, self.make)(number, **self.of)
        return found


def smoked(case: Case) -> Case:
    """The same way with two examples: whether it runs."""
    of = {**case.of, **({"size": 2} if "size" in case.of else {})}
    if case.make in ("pairs", "demonstrations", "rankings"):
        of["longest"] = 160
    smaller = {name: min(most, case.settings[name]) for name, most in case.smoke.items()}
    settings = {**case.settings, **smaller, **({"batch_size": 2} if "batch_size" in case.settings else {})}
    return replace(case, of=of, settings=settings, rounds=1)
