"""Tables of what an `accuracy` step found: Llama 2's table 8, and how well unsafe responses are found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from accord.monitor.values import ABSENT, clean, fixed, number, percent, table

LEVELS: Final = ("significantly better", "better", "slightly better", "negligibly better")
_NOT_COUNTED: Final = "not counted: not above the floor at home"


@dataclass(frozen=True, slots=True)
class Measure:
    """A cell of a table: a number as text, and its interval as text or ""."""

    text: str
    interval: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table. notes: what is to be known of all of it."""

    name: str
    cells: Sequence[Measure]
    notes: str = ""
    is_floor: bool = False


@dataclass(frozen=True, slots=True)
class OfSet:
    """The lines of one set of comparisons. headings: of its columns, with the pairs in each. left_out: in words."""

    name: str
    headings: Sequence[str]
    rows: Sequence[Row]
    left_out: str


@dataclass(frozen=True, slots=True)
class Accuracies:
    """safety: lines of the second table, and its headings."""

    sets: Sequence[OfSet]
    safety: Sequence[Row]
    safety_headings: Sequence[str]


def accuracy_table(results: Mapping[str, Any]) -> Accuracies:
    """results: as `accord.evaluate.reward_table.reward_table` gives them; gaps are shown as missing."""
    rewards = table(results.get("rewards"))
    sets = [_of_set(str(name), table(one), rewards) for name, one in table(results.get("sets")).items()]
    found = [
        (str(reward), str(name), table(table(cell).get("safety")))
        for reward, cells in rewards.items()
        for name, cell in table(cells).items()
    ]
    with_labels = [one for one in found if one[2]]
    below = list(dict.fromkeys(at for _, _, one in with_labels for at in table(one.get("below"))))
    headings = ["unsafe", "average precision"]
    headings += [f"{what} below {at}" for at in below for what in ("precision", "recall")]
    safety = [Row(f"{reward} on {name}", _safety_cells(one, below)) for reward, name, one in with_labels]
    return Accuracies(sets, safety, headings)


def doubts(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a reader of all that was made with these reward models should know first. found: the results of a run's
    `accuracy` steps."""
    cells = [
        (clean(reward, 60), table(cell))
        for results in found
        for reward, of_reward in table(results.get("rewards")).items()
        for cell in table(of_reward).values()
    ]
    at_home = dict.fromkeys(name for name, cell in cells if cell.get("home") and cell.get("counted") is False)
    blind: dict[str, str] = {}
    for name, cell in cells:
        safety = table(cell.get("safety"))
        below = table(safety.get("below"))
        recalls = {at: number(table(table(of_one).get("recall")).get("value")) for at, of_one in below.items()}
        if recalls and set(recalls.values()) == {0.0}:
            blind[name] = f"{name} finds none of {_num(safety.get('num_unsafe'))} below {max(recalls)}"
    told = []
    if at_home:
        told.append(
            f"Not better than the floor on the data that they learned for: {', '.join(at_home)}. What was chosen or "
            "trained by them is not shown to be any better."
        )
    if blind:
        told.append(f"Unsafe responses are not found: {'; '.join(blind.values())}.")
    return told


def measured(row: Mapping[str, Any], key: str, write: Callable[[Any], str], unit: str = "") -> Measure:
    """A number of a row with the ends of its interval, KEY_low and KEY_high; a dash where there is none."""
    return _measure(row.get(key), row.get(f"{key}_low"), row.get(f"{key}_high"), write, unit)


def _measure(value: object, low: object, high: object, write: Callable[[Any], str], unit: str = "") -> Measure:
    if number(value) is None:
        return Measure(ABSENT)
    known = number(low) is not None and number(high) is not None
    return Measure(write(value) + unit, f"{write(low)} to {write(high)}" if known else "")


def _interval(one: object, write: Callable[[Any], str]) -> Measure:
    found = table(one)
    return _measure(found.get("value"), found.get("low"), found.get("high"), write)


def _of_set(name: str, one: Mapping[str, Any], rewards: Mapping[str, Any]) -> OfSet:
    floors = table(one.get("floors"))
    best = table(one.get("floor")).get("name")
    cells = {str(reward): table(table(of).get(name)) for reward, of in rewards.items()}
    rows = [
        Row(str(of), _cells(table(row)), "the floor" if of == best else "", is_floor=True) for of, row in floors.items()
    ]
    rows += [Row(reward, _cells(cell), _notes(cell)) for reward, cell in cells.items() if cell]
    first = next((table(row) for row in (*floors.values(), *cells.values())), {})
    levels = table(first.get("levels"))
    headings = [f"{level} ({_num(table(levels.get(level)).get('n'))})" for level in LEVELS]
    headings += [f"average ({_num(first.get('n'))})", "above the floor by"]
    counts = {
        "ties": one.get("num_ties"),
        "pairs with an unsafe response preferred to a safe one": one.get("num_pairs_unsafe_chosen"),
        "comparisons that a model cannot read": one.get("num_left_out"),
    }
    left_out = ", ".join(f"{what}: {_num(value)}" for what, value in counts.items() if number(value))
    return OfSet(name, headings, rows, left_out)


def _cells(row: Mapping[str, Any]) -> list[Measure]:
    levels = table(row.get("levels"))
    parts = [*(table(levels.get(level)) for level in LEVELS), row]
    cells = [_measure(part.get("accuracy"), part.get("low"), part.get("high"), _tenths) for part in parts]
    return [*cells, _interval(row.get("lead"), _tenths)]


def _notes(cell: Mapping[str, Any]) -> str:
    notes = ["at home"] if cell.get("home") else []
    if cell.get("counted") is False:
        notes.append(_NOT_COUNTED)
    if cell.get("seen"):
        notes.append(str(cell["seen"]))
    return "; ".join(notes)


def _safety_cells(one: Mapping[str, Any], below: Sequence[str]) -> list[Measure]:
    unsafe = Measure(f"{_num(one.get('num_unsafe'))} of {_num(one.get('num_labelled'))}")
    shares = [table(table(one.get("below")).get(at)).get(what) for at in below for what in ("precision", "recall")]
    precision = _interval(one.get("average_precision"), fixed)
    return [unsafe, precision, *(_interval(share, percent) for share in shares)]


def _tenths(value: object) -> str:
    """A share in percent, as the paper's tables have it."""
    x = number(value)
    return ABSENT if x is None else f"{100 * x:z.1f}"


def _num(value: object) -> str:
    x = number(value)
    return ABSENT if x is None else f"{x:,.0f}"
