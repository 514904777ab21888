from __future__ import annotations

import math

from accord.monitor.curves import last_values, panels_of, thinned, unit_of


def test_the_panels_of_a_kind_and_what_the_recipe_names() -> None:
    rows = [
        {"iteration": at, "objective/scores": 0.1 * at, "response/finished": 1.0, "watch/gold": 0.5, "other": 1.0}
        for at in (1, 2)
    ]
    panels = {panel.title: panel for panel in panels_of("ppo", rows)}
    assert list(panels) == ["score", "finished responses, share"]
    assert panels["score"].lines == {"proxy": [(1.0, 0.1), (2.0, 0.2)], "gold, watched": [(1.0, 0.5), (2.0, 0.5)]}
    assert [panel.is_share for panel in panels.values()] == [False, True]
    assert last_values("ppo", rows) == {"objective/scores": 0.2, "response/finished": 1.0, "watch/gold": 0.5}


def test_a_kind_without_panels_shows_its_first_metrics() -> None:
    rows = [{"iteration": 1, **{f"m{at}": float(at) for at in range(9)}, "text": "a", "nan": math.nan}]
    assert [panel.title for panel in panels_of("unknown", rows)] == [f"m{at}" for at in range(6)]
    assert last_values("unknown", rows) == {f"m{at}": float(at) for at in range(6)}
    assert (panels_of("sft", []), last_values("sft", [])) == ([], {})


def test_what_is_not_measured_or_no_number_is_left_out() -> None:
    rows = [{"iteration": 1, "loss": math.nan}, {"iteration": 2, "loss": None}, {"iteration": 4, "loss": 0.5}]
    (panel,) = panels_of("sft", rows)
    assert panel.lines == {"loss": [(4.0, 0.5)]}
    assert last_values("sft", rows) == {"loss": 0.5}


def test_long_curves_are_averaged_down() -> None:
    points = [(float(at), float(at % 2)) for at in range(1000)]
    found = thinned(points, 120)
    assert len(found) == 112  # nine points in each
    assert found[0] == (4.0, 4 / 9)
    (panel,) = panels_of("sft", [{"iteration": at, "loss": 1.0} for at in range(10_000)])
    assert len(panel.lines["loss"]) <= 120


def test_units() -> None:
    assert (unit_of("sft"), unit_of("ppo")) == ("optimizer step", "iteration")
