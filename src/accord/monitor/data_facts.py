"""What a run records of its data and labels: where they are from, how many, and who judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from accord.monitor.values import number, table

if TYPE_CHECKING:
    from accord.monitor.views import StepView

_HUB: Final = "hub:"
_PEOPLE: Final = "human"  # as an annotator of a `collect` step


@dataclass(frozen=True, slots=True)
class DataSet:
    """source: without the folders of a file. hub: its id there, licence: as recorded; each "" when unknown. parts:
    name, kind of record, how many."""

    name: str
    source: str
    hub: str = ""
    licence: str = ""
    parts: Sequence[tuple[str, str, int | None]] = ()


@dataclass(frozen=True, slots=True)
class Labels:
    """Judgements that a step brought in. by: in words. simulated: by a reward of the run or a language model, not by
    people. num: comparisons that were judged; unanswered: that were not."""

    step: str
    by: str
    simulated: bool
    num: int | None
    unanswered: int | None


def data_sets(steps: Sequence[StepView]) -> list[DataSet]:
    return [_data_set(step) for step in steps if step.kind == "data"]


def labels(steps: Sequence[StepView]) -> list[Labels]:
    return [found for step in steps if (found := labels_of(step)) is not None]


def labels_of(step: StepView) -> Labels | None:
    """None for a step that brought none in."""
    by = str(step.summary.get("annotator") or "")
    if not by or step.kind not in ("collect", "judge"):
        return None
    simulated = step.kind == "judge" or by.startswith("simulated")
    if by == _PEOPLE:
        by = "people"
    elif step.kind == "judge":
        by = f"a language model, {by}"
    return Labels(step.name, by, simulated, _whole(step.summary, "num_judged"), _whole(step.summary, "num_unanswered"))


def _data_set(step: StepView) -> DataSet:
    source = step.config.get("source")
    given = [str(one) for one in source.values()] if isinstance(source, Mapping) else [str(source or "")]
    told = [one if one.startswith((_HUB, "builtin:")) else PurePath(one).name for one in given]
    if isinstance(said := step.summary.get("source"), str):
        told.append(said)
    parts = [
        (str(name), str(table(part).get("kind") or "records"), _whole(table(part), "num_records"))
        for name, part in table(step.summary.get("parts")).items()
    ]
    on_hub = next((one.removeprefix(_HUB) for one in given if one.startswith(_HUB)), "")
    return DataSet(step.name, "; ".join(told), on_hub, str(step.summary.get("licence") or ""), parts)


def _whole(row: Mapping[str, Any], key: str) -> int | None:
    x = number(row.get(key))
    return None if x is None else int(x)
