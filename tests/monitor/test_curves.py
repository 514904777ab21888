from __future__ import annotations

import math

from accord.monitor.curves import Bucket, last_values, panels_of, thin, unit_of


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


def test_long_curves_are_averaged_and_their_spikes_stay() -> None:
    assert thin([(0, 1.0), (1, 3.0), (2, 5.0), (3, 9.0), (4, 2.0)], 3) == [
        Bucket(0.5, 2.0, 1.0, 3.0),
        Bucket(2.5, 7.0, 5.0, 9.0),
        Bucket(4, 2.0, 2.0, 2.0),
    ]
    assert thin([(0, 1.0), (1, 2.0)], 2) == [Bucket(0, 1.0, 1.0, 1.0), Bucket(1, 2.0, 2.0, 2.0)]
    assert thin([], 3) == []
    (panel,) = panels_of("sft", [{"iteration": at, "loss": float(at % 2)} for at in range(1000)])
    assert len(panel.lines["loss"]) == 112  # nine points in each
    assert panel.lines["loss"][0] == (4.0, 4 / 9)


def test_units() -> None:
    assert (unit_of("sft"), unit_of("ppo")) == ("optimizer step", "iteration")
