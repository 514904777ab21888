"""What was measured of a reward model or of judged pairs, as lines for a terminal of 100 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from accord.monitor.values import ABSENT, clean, fixed, number, short

_BASELINES = {
    "longest": "always the longest response",
    "shortest": "always the shortest",
    "first": "always the one that stands first",
    "constant": "the same score for all",
}


def reward_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Of `evaluate_reward`."""
    yield f"{clean(found['model'])} on {clean(found['data'])}"
    yield _counted(found)
    yield ""
    yield f"accuracy {_share(found)}   95 %, drawn by prompt"
    yield from baseline_lines(found["baselines"])
    difference = found["score_difference"]
    deviations = f", {fixed(difference['in_deviations'])} standard deviations of the scores"
    deviations = deviations if difference["in_deviations"] is not None else ""
    yield f"chosen less rejected, mean score {interval_text(difference)}{deviations}"
    if found["subsets"]:
        parts = [(name, part) for name, part in found["subsets"].items()]
        yield from _parts(f"by {clean(found['column'])}", parts)
    if found["strengths"]:
        yield from _parts("by difference of the grades", [(_range(one), one) for one in found["strengths"]])
    yield from _parts("by words that the chosen has more", [(_range(one), one) for one in found["lengths"]])
    calibration = found["calibration"]
    yield ""
    chance = fixed(calibration.get("ece_by_chance"), 3)
    yield f"calibration of sigmoid(gap): ECE {fixed(calibration['ece'], 3)} (a calibrated model: up to {chance})"
    yield f"  log loss {_with_ends(calibration, 'log_loss', 3)}; 0.693 knows nothing"
    yield f"  Platt slope {_with_ends(calibration, 'platt_slope', 2)}; below 1: too sure of itself"
    if "ensemble" in found:
        yield from _ensemble_lines(found["ensemble"])
    if "suite" in found:
        yield from _suite_lines(found["suite"])
    if "probes" in found:
        yield from _probe_lines(found["probes"])


def baselines_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Of `evaluate_baselines`."""
    yield clean(found["data"])
    yield _counted(found)
    yield ""
    yield from baseline_lines(found["baselines"])
    for name, part in found["subsets"].items():
        yield ""
        yield f"{clean(found['column'])} {clean(name)}: {part['n']:,} pairs"
        yield from baseline_lines(part["baselines"])


def baseline_lines(baselines: Mapping[str, Any]) -> Iterator[str]:
    for name, one in baselines.items():
        if one is not None:
            yield f"  {_BASELINES.get(name, name):<34} {interval_text(one)}"
        else:
            yield f"  {_BASELINES.get(name, name):<34} the order of the responses tells the label"


def interval_text(one: Mapping[str, Any] | None, digits: int = 3) -> str:
    """A value with the ends of its interval."""
    if one is None or number(one["value"]) is None:
        return ABSENT
    if number(one.get("low")) is None:
        return fixed(one["value"], digits)
    return f"{fixed(one['value'], digits)} ({fixed(one['low'], digits)} to {fixed(one['high'], digits)})"


def _with_ends(of: Mapping[str, Any], name: str, digits: int) -> str:
    return interval_text({"value": of[name], "low": of.get(f"{name}_low"), "high": of.get(f"{name}_high")}, digits)


def table_lines(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns, the first on the left and the others on the right, below one another."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for first, *rest in rows:
        cells = [f"{first:<{widths[0]}}", *(f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True))]
        yield "  " + "  ".join(cells).rstrip()


def _counted(found: Mapping[str, Any]) -> str:
    left_out = found["left_out"]
    parts = [f"{found['n']:,} ordered pairs of {found['prompts']:,} prompts", f"{found['ties']:,} ties left out"]
    for name, what in (
        ("num_rows", "rows that cannot be used"),
        ("num_with_control_tokens", "comparisons with a control token"),
        ("num_too_long", "comparisons longer than the model's context"),
    ):
        parts += [f"{left_out[name]:,} {what}"] if left_out.get(name) else []
    return "; ".join(parts)


def _share(part: Mapping[str, Any]) -> str:
    return interval_text({"value": part["accuracy"], "low": part["low"], "high": part["high"]})


def _parts(title: str, parts: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[str]:
    yield ""
    rows = [(title, "pairs", "accuracy", "longest")]
    rows += [(short(name, 40), f"{part['n']:,}", _share(part), fixed(part["longest"], 3)) for name, part in parts]
    yield from table_lines(rows)


def _range(one: Mapping[str, Any]) -> str:
    low, high = f"{one['from']:g}", f"{one['to']:g}"
    return low if low == high else f"{low} to {high}"


def _ensemble_lines(ensemble: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    accuracy = ", ".join(fixed(one, 3) for one in ensemble["accuracy"])
    yield f"made of {ensemble['num_members']} rewards with accuracies {accuracy}; spread {fixed(ensemble['spread'], 3)}"
    for name, what in (("unanimous", "where all agree"), ("divided", "where they do not")):
        yield f"  {what}: {ensemble[name]['n']:,} pairs, accuracy {_share(ensemble[name])}"


def _suite_lines(suite: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield f"{suite['name']}: {interval_text(suite['overall'])}"
    for name, one in suite["sections"].items():
        yield f"  {clean(name):<20} {interval_text(one)}"
    if suite.get("missing"):
        yield f"  not in the file: {', '.join(suite['missing'])}"
    if suite.get("unknown"):
        yield f"  no subsets of it: {', '.join(map(clean, suite['unknown']))}"


def _probe_lines(probes: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    rows = [("dressed up", "responses", "shift in deviations", "pairs that flip")]
    rows += [
        (name, f"{one['n']:,}", interval_text(one["shift"], 2), interval_text(one["flips"]))
        for name, one in probes.items()
        if isinstance(one, Mapping)
    ]
    yield from table_lines(rows)
