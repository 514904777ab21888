"""Pictures of a run: Altair specifications rendered to SVG text, without a network and without JavaScript.

Each function takes plain numbers, any of which may be missing (None or NaN), and returns an SVG that can stand inside
an HTML page or in a file of its own; with nothing to draw it returns "". Colours are those of Okabe and Ito (2008).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import altair as alt

from accord.monitor.svg import INK, NOTHING, PALETTE, WIDTH, Datum, Picture, data_of, render
from accord.monitor.values import clean, number, percent, short, table

Row = Mapping[str, Any]

SMOOTHING: Final = 5  # iterations in the moving mean of a trajectory
FEWEST_ITERATIONS: Final = 8  # in such a one; of fewer, hardly a mean is of as many as it says
MOST_ON_A_PATH: Final = 400  # measurements of a trajectory that are drawn
FEWEST_POLICIES: Final = 3  # in a picture of score against KL, unless there is a trajectory
LEAST_KL: Final = 0.1  # nats per sequence, of one of these: below, they are one policy but for chance
DASHES: Final = {"gold": [1, 0], "proxy": [5, 4]}

ENDS: Final = {"x_low": "low", "x_high": "high"}  # of a value that goes to the right, in a picture's data
_SCORES: Final = {
    "policy": "policy",
    "by": "by",
    "line": "reward that looked on",
    "order": "iteration",
    "x": "square root of KL",
    "x_low": "square root of KL, low",
    "x_high": "square root of KL, high",
    "y": "score",
    "y_low": "score, low",
    "y_high": "score, high",
}

WATCH: Final = "watch/"  # before the name of a reward that was not trained on, and looked on


def is_path(rows: Sequence[Row]) -> bool:
    """Whether the metrics of a training are long enough for a line of score against KL."""
    return sum(number(row.get("objective/kl")) is not None for row in rows) >= FEWEST_ITERATIONS


def watches(rows: Iterable[Row]) -> list[str]:
    """The names of the rewards that looked on in a training, from its metrics."""
    keys = dict.fromkeys(key for row in rows for key in row if key.startswith(WATCH))
    return [key.removeprefix(WATCH) for key in keys]


def policy_colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for each policy, the same in every picture of a page. They repeat after eight."""
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(dict.fromkeys(names))}


def score_against_kl(
    policies: Mapping[str, Row],
    trajectories: Mapping[str, Sequence[Row]],
    colours: Mapping[str, str],
    size: str = "",
) -> Picture:
    """Score against the square root of the KL from the reference, the axis of Gao et al. (2022, arXiv 2210.10760).

    policies: name -> a row with kl (nats per sequence), gold_score, proxy_score and, where known, their `_low` and
    `_high`. trajectories: name of a policy -> the metrics of its training by a reward, one
    row an iteration, each of them a path (`is_path`). size: how many prompts the policies were measured on.
    Two policies are no picture, as any two points lie on a line; nor are policies of which none is shown to have moved.
    """
    drawn_too = len(policies) >= FEWEST_POLICIES and any(_has_moved(table(row)) for row in policies.values())
    of_policies = policies if drawn_too or trajectories else {}
    points = [point for name, row in of_policies.items() for point in _score_points(name, table(row))]
    paths = [point for name, rows in trajectories.items() for point in _trajectory(name, rows)]
    shown = points + paths
    if len({(p["x"], p["y"]) for p in shown}) < 2:
        return NOTHING
    present = {str(p["policy"]) for p in shown}
    measures = [m for m in ("gold", "proxy") if any(p["by"] == m for p in shown)]
    axis, x_scale = alt.Axis(tickCount=6), alt.Scale(padding=12, nice=False)
    x = alt.X("x:Q", title="√KL from the baseline (KL in nats per sequence)", scale=x_scale, axis=axis)
    y = alt.Y("y:Q", title="score", scale=alt.Scale(zero=False, padding=12), axis=axis)
    drawn = {label: c for name, c in colours.items() if (label := short(name)) in present}
    colour = alt.Color(
        "policy:N",
        scale=alt.Scale(domain=list(drawn), range=list(drawn.values())),
        legend=alt.Legend(title="policy", symbolType="square" if points else "stroke", symbolOpacity=1),
    )
    layers = [
        *(
            alt.Chart(data_of([p for p in paths if p["by"] == m]))
            .mark_line(strokeWidth=1.8, opacity=0.75, strokeDash=DASHES[m])
            .encode(x=x, y=y, color=colour, order="order:Q", detail="line:N")
            for m in measures
        ),
        alt.Chart(data_of([p for p in points if "x_low" in p])).mark_rule(strokeWidth=1.5).encode(
            x="x_low:Q", x2="x_high:Q", y=y, color=colour
        ),
        alt.Chart(data_of([p for p in points if "y_low" in p])).mark_rule(strokeWidth=1.5).encode(
            x=x, y="y_low:Q", y2="y_high:Q", color=colour
        ),
        alt.Chart(data_of(points)).mark_point(size=110, filled=True, opacity=1, stroke="white", strokeWidth=1).encode(
            x=x, y=y, color=colour, shape=_shape_by_measure(measures)
        ),
    ]  # fmt: skip
    if not points:  # nor a legend of their shapes
        layers = layers[: len(measures)]
    chart = alt.layer(*layers).properties(width=WIDTH - 190, height=320)
    counted = [size, "95 % intervals: bootstrap over prompts"] if points and size else []
    counted += [f"lines: {len(paths)} measurements on training prompts, without intervals"] if paths else []
    return render(
        chart,
        "Score of each policy against the square root of its KL",
        _tell(points, "score"),
        rows=shown,
        columns=_SCORES,
        note="; ".join(counted),
    )


def accuracy_lines(reward_model: Row) -> Picture:
    """Accuracy of a reward model on held-out pairs, above the lines that say what such a number is worth."""
    name = short(reward_model.get("name") or "proxy")
    rows = (
        (f"{name} (reward model)", "accuracy", PALETTE[3]),
        (f"{name}, openings cut off", "accuracy_openings_cut", PALETTE[2]),
        ("bag of words", "bag_of_words", PALETTE[1]),
        ("one human rater", "single_rater_agreement", PALETTE[0]),
        ("half of the raters against the other half", "label_reliability", PALETTE[0]),
    )
    data: list[Datum] = []
    for label, key, colour in rows:
        value = number(reward_model.get(key))
        if value is not None:
            data.append({"label": label, "x": value, "text": f"{percent(value)} %", "colour": colour})
            data[-1] |= _interval(reward_model, key, "x")
    if not data:
        return NOTHING
    data.append({"label": "chance", "x": 0.5, "text": "50 %", "colour": PALETTE[0]})
    num = number(reward_model.get("num_pairs"))
    return render(
        dot_plot(data, "share of pairs ordered as people order them"),
        "Accuracy of the reward model",
        ", ".join(f"{d['label']} {d['text']}" for d in data),
        rows=data,
        columns={"label": "what", "x": "share of pairs", **ENDS},
        note=f"{'n not recorded' if num is None else f'n: {num:,.0f} pairs'}; 95 % intervals: bootstrap",
    )


def win_rates(policies: Mapping[str, Row], baseline: str, colours: Mapping[str, str], size: str = "") -> Picture:
    """A forest plot: each policy's win rate over the baseline, by the gold model, the second evaluator, a judge.

    size: how many prompts they were measured on.
    """
    against = short(baseline) or "the baseline"
    data: list[Datum] = []
    for name, row in policies.items():
        for key, by in (("gold_win_rate", "gold"), ("second_win_rate", "second"), ("judge_win_rate", "judge")):
            value = number(table(row).get(key))
            if value is not None and name != baseline:
                label = f"{short(name)}, by {by}"
                colour = colours.get(name, INK)
                data.append({"label": label, "x": value, "text": f"{percent(value)} %", "colour": colour})
                data[-1] |= _interval(table(row), key, "x") | {"policy": clean(name, 200), "by": by}
    if not data:
        return NOTHING
    chart = dot_plot(data, f"share of comparisons in which the policy is preferred over {against}", domain=(0.0, 1.0))
    return render(
        chart,
        f"Win rate over {against}",
        ", ".join(f"{d['label']} {d['text']}" for d in data),
        rows=data,
        columns={"policy": "policy", "by": "by", "x": "win rate", **ENDS},
        note="; ".join(filter(None, [size, "95 % intervals: bootstrap over prompts"])),
    )


def _shape_by_measure(measures: list[str]) -> alt.Shape:
    shapes = ["circle" if m == "gold" else "diamond" for m in measures]
    legend = alt.Legend(title="scored by", symbolFillColor=INK, symbolStrokeColor=INK)
    return alt.Shape("by:N", scale=alt.Scale(domain=measures, range=shapes), legend=legend)


def _interval(row: Row, key: str, axis: str) -> Datum:
    low, high = number(row.get(f"{key}_low")), number(row.get(f"{key}_high"))
    return {} if low is None or high is None else {f"{axis}_low": low, f"{axis}_high": high}


def _root(kl: float) -> float:
    return math.sqrt(max(kl, 0.0))  # an estimate of a small KL can fall below zero


def _has_moved(row: Row) -> bool:
    """Whether the KL is worth a picture, and its interval, where there is one, lies above 0."""
    kl, low = number(row.get("kl")) or 0.0, number(row.get("kl_low"))
    return kl >= LEAST_KL and (low is None or low > 0)


def _score_points(name: str, row: Row) -> Iterator[Datum]:
    kl = number(row.get("kl"))
    if kl is None:
        return
    across = {key: _root(float(value)) for key, value in _interval(row, "kl", "x").items()}
    for measure in ("gold", "proxy"):
        score = number(row.get(f"{measure}_score"))
        if score is not None:
            point: Datum = {"policy": short(name), "by": measure, "x": _root(kl), "y": score}
            yield point | across | _interval(row, f"{measure}_score", "y")


def _trajectory(name: str, rows: Sequence[Row]) -> Iterator[Datum]:
    """The way of a training: smoothed KL and proxy score of each iteration, and the gold score where it was watched."""
    kept = [(kl, row) for row in rows if (kl := number(row.get("objective/kl"))) is not None]
    every = math.ceil(len(kept) / MOST_ON_A_PATH) or 1
    reach = max(SMOOTHING, every) // 2
    for i, (_, row) in list(enumerate(kept))[::every]:
        near = kept[max(0, i - reach) : i + reach + 1]
        x = _root(sum(kl for kl, _ in near) / len(near))
        scores = [score for _, r in near if (score := number(r.get("objective/scores"))) is not None]
        if scores:
            yield {"policy": short(name), "by": "proxy", "x": x, "y": sum(scores) / len(scores), "order": i}
        for watch in watches([row]):
            if (gold := number(row.get(f"{WATCH}{watch}"))) is not None:
                yield {"policy": short(name), "by": "gold", "x": x, "y": gold, "order": i, "line": watch}


def dot_plot(data: list[Datum], title: str, domain: tuple[float, float] | None = None) -> alt.TopLevelMixin:
    """One row a number: a dot, its interval where known, its value at the right; a dashed line at one half."""
    low = min(0.5, *(float(d.get("x_low", d["x"])) for d in data))
    scale = alt.Scale(domain=list(domain or (max(0.0, math.floor(low * 10 - 0.5) / 10), 1.0)), nice=False)
    labels = alt.Axis(title=None, grid=True, ticks=False, domain=False, labelPadding=8)
    y = alt.Y("label:N", sort=[str(d["label"]) for d in data], axis=labels)
    x = alt.X("x:Q", title=title, scale=scale, axis=alt.Axis(format="%", tickCount=6, grid=False))
    colour = alt.Color("colour:N", scale=None)
    base = alt.Chart(data_of(data))
    ranges = alt.Chart(data_of([d for d in data if "x_low" in d]))
    half = alt.Chart(data_of([{"x": 0.5}]))
    return alt.layer(
        half.mark_rule(strokeDash=[4, 4], color="#888888").encode(x=x),
        ranges.mark_rule(strokeWidth=3, opacity=0.55).encode(x="x_low:Q", x2="x_high:Q", y=y, color=colour),
        base.mark_point(size=90, filled=True, opacity=1).encode(x=x, y=y, color=colour),
        base.mark_text(align="left", dx=10, fontSize=12, color=INK).encode(
            y=y, x=alt.value("width"), text="text:N"
        ),
    ).properties(width=WIDTH - 260, height=alt.Step(26))  # fmt: skip


def _tell(points: Iterable[Datum], what: str) -> str:
    return ", ".join(f"{p['policy']} {p['by']} {what} {float(p['y']):.2f} at {float(p['x']):.2f}" for p in points)
