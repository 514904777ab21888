"""What is done so far, as a table and as a picture."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np

from accord.algorithms.replication import MIN_RUNS, t_interval, value_range
from accord.algorithms.statistics import Interval, bootstrap_mean
from accord.monitor.svg import PALETTE, data_of, render
from bench.sentiment.cases import settings_of

RESULTS = Path(__file__).parents[1] / "results" / "sentiment"
NUM_ANSWERS = 10_000  # what a policy is made for, when its compute is counted
_MEASURED = ("gold", "second", "proxy", "kl")
_MORE = ("#8c564b", "#9467bd", "#bcbd22", "#17becf")  # colours of further methods
_FACTS = ("mean_tokens", "finished", "train_flops", "answer_flops")


def read(path: Path) -> dict[str, Any]:
    """A result. Exits when it was measured with other settings than the case has now."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if found["settings"] != settings_of(found["case"], found["seed"]):
        sys.exit(f"{path} was measured with other settings than {found['case']} has now: delete it and run the case")
    return found


def done() -> dict[str, list[dict[str, Any]]]:
    """Case (and n, of best of n) -> what each seed gave."""
    grouped: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(RESULTS.glob("*.json")):
        found = read(path)
        rows = {f"best of {n}": {**found, **row} for n, row in found.get("of_n", {}).items()}
        for name, row in (rows or {found["case"]: found}).items():
            grouped.setdefault(name, []).append(row)
    return grouped


def interval(values: list[list[float]]) -> tuple[Interval, str]:
    """Of the mean over seeds of means over prompts, and what kind of interval it is. values: [seeds][prompts]."""
    means = [float(np.mean(of_seed)) for of_seed in values]
    if len(means) >= MIN_RUNS:
        return t_interval(means), "t over seeds"
    if len(means) == 1:
        return bootstrap_mean(values[0], seed=0), "bootstrap over prompts, one seed"
    return value_range(means), "lowest and highest of two seeds"


def points() -> list[dict[str, Any]]:
    """One for each case that measures a policy."""
    found = []
    for name, rows in done().items():
        kept = [row for row in rows if "gold" in row]
        if not kept and not any("failed" in row for row in rows):
            continue
        point: dict[str, Any] = {"name": name, "num": len(kept), "failed": len(rows) - len(kept)}
        for key in _MEASURED if kept else ():
            point[key], point["interval"] = interval([row[key] for row in kept])
        for key in _FACTS if kept else ():
            point[key] = float(np.mean([row[key] for row in kept]))
        found.append(point)
    return sorted(found, key=lambda one: one["gold"].value if one["num"] else -math.inf)


def table() -> None:
    columns = ("case", "seeds (failed)", "gold", "second judge", "KL", "proxy", "finished", "tokens")
    columns += ("TFLOP to train", "GFLOP an answer")
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    kinds = set()
    for point in points():
        cells = [point["name"], f"{point['num']} ({point['failed']})"]
        if point["num"]:
            kinds.add(point["interval"])
            measured = [point[key] for key in ("gold", "second", "kl", "proxy")]
            cells += [f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})" for one in measured]
            cells += [f"{point['finished']:.2f}", f"{point['mean_tokens']:.1f}", f"{point['train_flops'] / 1e12:.1f}"]
            cells += [f"{point['answer_flops'] / 1e9:.0f}"]
        print("| " + " | ".join(cells) + " |")
    print(f"\nintervals: {'; '.join(sorted(kinds))}")
    for row in done().get("judges", []):
        shares = ", ".join(f"{name} {row[f'accuracy_{name}']:.3f}" for name in ("gold", "proxy", "second"))
        print(f"orders held-out pairs of snippets as people do, seed {row['seed']}: {shares}")


def picture(path: Path) -> None:
    """Two panels: gold score against the square root of the KL, with the paths, and against compute."""
    marks: list[dict[str, Any]] = []
    for point in points():
        if point["num"]:
            made = point["train_flops"] + NUM_ANSWERS * point["answer_flops"]
            gold, root = point["gold"], math.sqrt(max(point["kl"].value, 0.0))
            where = {"root": root, "pflop": made / 1e15, "gold": gold.value, "low": gold.low, "high": gold.high}
            marks.append({"name": point["name"], "method": method_of(point["name"]), **where})
    paths = [
        {"name": name, "method": method_of(name), "root": math.sqrt(max(kl, 0.0)), "gold": gold, "share": share}
        for name, rows in done().items()
        for share, kl, gold in _mean_path(rows)
    ]
    methods = list(dict.fromkeys(mark["method"] for mark in marks))
    legend = alt.Legend(symbolOpacity=1)
    colours = alt.Color("method:N", sort=methods, title=None, scale=alt.Scale(range=[*PALETTE, *_MORE]), legend=legend)
    shapes = alt.Shape("method:N", sort=methods, title=None, legend=None)
    gold = alt.Y("gold:Q", title="gold score", scale=alt.Scale(zero=False))

    def panel(x: alt.X) -> alt.LayerChart:
        base = alt.Chart(data_of(marks)).encode(x=x, color=colours)
        bars = base.mark_rule(opacity=0.5).encode(y=alt.Y("low:Q", title="gold score"), y2="high:Q")
        return alt.layer(bars, base.mark_point(filled=True, size=80, opacity=1).encode(y=gold, shape=shapes))

    thin = (
        alt.Chart(data_of(paths))
        .mark_line(strokeWidth=1, opacity=0.6)
        .encode(x="root:Q", y=gold, color=colours, detail="name:N", order="share:Q")
    )
    by_kl = panel(
        alt.X(
            "root:Q",
            title="√KL to the SFT policy (nats per sequence; of best of n its upper bound)",
            axis=alt.Axis(tickCount=8),
        )
    )
    title = f"PFLOP to train the policy and to answer {NUM_ANSWERS:,} prompts"
    by_compute = panel(alt.X("pflop:Q", title=title, scale=alt.Scale(type="log"), axis=alt.Axis(tickCount=6)))
    chart = alt.vconcat(
        alt.layer(thin, by_kl).properties(width=600, height=340), by_compute.properties(width=600, height=280)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    kinds = "; ".join(sorted({point["interval"] for point in points() if point["num"]}))
    described = f"one mark a setting with its 95 % interval ({kinds}); thin lines: the way there, on training prompts"
    path.write_text(render(chart, "Gold score against KL and against compute", described), encoding="utf-8")


def method_of(name: str) -> str:
    """What settings of one method have in common."""
    return "best of n" if name.startswith("best of") else name.rstrip("0123456789.").rstrip("-")


def _mean_path(rows: list[dict[str, Any]]) -> list[tuple[float, float, float]]:
    """(share of the run, KL, gold), the means over seeds."""
    paths = [row["path"] for row in rows if row.get("path")]
    return [
        (at[0]["share"], float(np.mean([one["kl"] for one in at])), float(np.mean([one["gold"] for one in at])))
        for at in zip(*paths, strict=False)
    ]
