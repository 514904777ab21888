"""What is known of a step before it runs: the records, lengths and models that it will read, and their sizes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from accord.data.derive import view
from accord.data.records import RecordKind
from accord.models.cost import Dimensions
from accord.models.lora import Lora
from accord.text.template import Template


@dataclass(frozen=True, slots=True)
class Records:
    """A sample of the records of a data set's part, how many there are in all, and the few longest of all.

    complete: the sample is all of them, as they are; else it is a part of them, or what is expected of a step to come.
    ordinary: that none of all their prompts is a safety prompt is known. counted: so many there are, and not about so
    many.
    """

    kind: RecordKind
    sample: Sequence[Any]
    total: int
    longest: Sequence[Any] = ()
    complete: bool = False
    ordinary: bool = False
    counted: bool = False

    def read(self, kind: RecordKind) -> Any:
        """The sample, viewed as `kind`; as `accord.steps.base.Input` reads all of them."""
        return view(self.sample, self.kind, kind)

    def seen_as(self, kind: RecordKind) -> Records:
        """As records of another kind; the total keeps its proportion."""
        seen = self.read(kind)
        total = round(self.total * len(seen) / max(len(self.sample), 1))
        counted = self.counted and len(seen) == len(self.sample)
        return Records(kind, seen, total, view(self.longest, self.kind, kind), self.complete, self.ordinary, counted)

    @property
    def extremes(self) -> Records:
        """The longest ones alone, for what they need of memory."""
        return Records(self.kind, self.longest, len(self.longest))

    def first(self, num: int | None) -> Records:
        """The first `num` of them (None: all)."""
        if num is None:
            return self
        return Records(
            self.kind,
            self.sample[:num],
            min(num, self.total),
            complete=self.complete,
            ordinary=self.ordinary,
            counted=self.counted,
        )

    @property
    def scale(self) -> float:
        """How many records each one of the sample stands for."""
        return self.total / max(len(self.sample), 1)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an input before it is made. key: of the step that makes it. records: of data. lengths: the
    tokens of a policy's responses (None: nothing is known, so as many as allowed). asks: as `Work` has it.
    base: the key of the policy whose weights a reward model's adapter changes. combines: the keys of the rewards that a
    reward is made of."""

    key: str = ""
    records: Records | None = None
    lengths: tuple[int, ...] | None = None
    asks: tuple[int, ...] = ()
    base: str = ""
    combines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sizes:
    """What is known of a step before it runs. inputs: config field -> its inputs. label: the step's name."""

    dimensions: Dimensions
    template: Template
    inputs: Mapping[str, tuple[Known, ...]]
    seed: int = 0
    label: str = ""

    def parts(self, name: str) -> list[Records]:
        """The records of a data field, part by part."""
        return [one.records for one in self.inputs.get(name, ()) if one.records is not None]

    def complete(self, name: str) -> bool:
        """Whether all records of a data field are known, as they are."""
        inputs = self.inputs.get(name, ())
        return bool(inputs) and all(one.records is not None and one.records.complete for one in inputs)

    def records(self, name: str, kind: RecordKind) -> Records:
        """The records of a data field, all its parts together, seen as `kind`."""
        parts = [part.seen_as(kind) for part in self.parts(name)]
        every = [record for part in parts for record in part.sample]
        longest = [one for part in parts for one in part.longest]
        complete = self.complete(name)
        ordinary, counted = all(part.ordinary for part in parts), all(part.counted for part in parts)
        return Records(kind, every, sum(part.total for part in parts), longest, complete, ordinary, counted)

    def responses(self, name: str, cap: int, at: int = 0) -> tuple[int, ...]:
        """Tokens of responses, at most `cap`, as the policy number `at` of a field writes them."""
        return tuple(min(length, cap) for length in self.inputs[name][at].lengths or ()) or (cap,)

    def asked(self, *names: str) -> list[int]:
        """Parameters of each model that the rewards of these fields ask."""
        return [num for name in names for one in self.inputs[name] for num in one.asks]

    def passes(self, asks: Iterable[int]) -> float:
        """How many passes of a whole backbone it is to ask models of so many parameters: one of the first layers takes
        its share. An adapter, smaller than any backbone, is asked with one that is counted elsewhere."""
        embedding, layers = self.dimensions.embedding_parameters, self.scalar - self.dimensions.embedding_parameters
        return sum(min((num - embedding) / layers, 1.0) if num > embedding else 1.0 for num in asks)

    @cached_property
    def policy(self) -> int:
        """Parameters of a policy."""
        return self.dimensions.policy_parameters

    @cached_property
    def scalar(self) -> int:
        """Parameters of a reward or value model."""
        return self.dimensions.scalar_parameters

    def adapter(self, lora: Lora) -> int:
        """Parameters of an adapter."""
        return self.dimensions.adapter_parameters(lora.rank, lora.targets)
