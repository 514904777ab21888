from __future__ import annotations

from typing import Any

from accord.monitor import health
from accord.monitor.curve_health import _RULES, _SHOULD, LOOK, MOVED, OPEN, WELL, CurveHealth, curve_health
from accord.monitor.panels import PANELS
from accord.monitor.report import build_report
from accord.monitor.views import RunView, StepView


def rows(**columns: list[float]) -> list[dict[str, Any]]:
    long = max(map(len, columns.values()))
    names = {key.replace("__", "/"): values for key, values in columns.items()}
    return [
        {"iteration": at + 1, **{key: values[at] for key, values in names.items() if at < len(values)}}
        for at in range(long)
    ]


def of(kind: str, measured: list[dict[str, Any]]) -> list[CurveHealth]:
    return curve_health(kind, measured, health.cautions(kind, measured))


def test_an_alarm_stands_beside_the_curve_that_it_is_about() -> None:
    found = of("ppo", rows(objective__kl=[1.0, -2.0, 1.0], objective__scores=[0.0, 1.0, 2.0]))
    by_curve = {one.curve: one for one in found}
    assert by_curve["KL (nats per sequence)"].mark == LOOK
    assert "the KL was negative in 1 iteration" in by_curve["KL (nats per sequence)"].why[0]
    assert by_curve["KL (nats per sequence)"].why[0].endswith("From 2 on.")
    assert by_curve["score"].mark == WELL
    assert by_curve["score"].went == "0 to 2"


def test_a_curve_that_no_alarm_knows_is_not_called_healthy() -> None:
    (loss,) = of("sft", rows(loss=[3.0, 2.5, 2.0]))
    assert (loss.mark, loss.went, loss.healthy) == (OPEN, "3 to 2", "falls, then flattens")


def test_a_curve_goes_the_right_way_or_the_wrong_one_beyond_its_noise() -> None:
    falls = [3.0, 2.8, 2.6, 2.4, 2.2, 2.0]
    for loss, mark in ((falls, MOVED), (falls[::-1], LOOK), ([3.0, 2.0, 3.1, 2.1, 3.0, 2.0], OPEN), (falls[:3], OPEN)):
        assert [one.mark for one in of("sft", rows(loss=loss))] == [mark]
    assert of("sft", rows(loss=falls[::-1]))[0].why == ["it rose, beyond its noise."]
    (accuracy,) = of("reward", rows(accuracy=falls))
    assert (accuracy.mark, accuracy.why) == (LOOK, ["it fell, beyond its noise."])
    assert _SHOULD.keys() <= _RULES.keys()


def test_what_is_about_no_curve_that_is_drawn_is_said_last() -> None:
    found = of("ppo", rows(objective__scores=[0.0, 1.0], sampler__mismatch_per_token=[0.5, 0.5]))
    assert (found[-1].curve, found[-1].mark) == ("all of them", LOOK)
    assert "log-probabilities of sampler and learner differ" in found[-1].why[0]


def test_lines_of_one_panel_are_told_apart() -> None:
    found = of("dpo", rows(rewards__chosen=[0.0, 1.0], rewards__rejected=[0.0, -1.0]))
    assert [one.went for one in found if one.curve == "implicit rewards"] == ["chosen 0 to 1, rejected 0 to -1"]


def test_every_panel_but_the_learning_rate_says_what_a_healthy_one_does() -> None:
    titles = {title for panels in PANELS.values() for title, _ in panels}
    assert titles - _RULES.keys() == {"learning rate", "KL (nats)"}
    assert _RULES.keys() <= titles


def test_it_stands_on_the_page() -> None:
    step = StepView("ppo", "ppo", 1.0, False, "a" * 64, {}, rows(objective__kl=[-9.0, -9.0]))
    html = build_report(RunView("r", "", [step], {}, [], "", {}))
    assert '<span class="mark look">look</span>' in html
    assert "is this healthy?" in html
