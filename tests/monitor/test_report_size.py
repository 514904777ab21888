"""A report of a long run stays small: what is drawn of a curve is bounded, whatever its length."""

from __future__ import annotations

from accord.monitor.report import build_report
from accord.monitor.views import RunView, StepView


def page(num_rows: int) -> str:
    rows: list[dict[str, float]] = [
        {
            "iteration": at + 1,
            "objective/scores": at % 7 / 7,
            "objective/kl": at / num_rows + at % 3,
            "watch/judge": at % 5,
            "response/finished": 1.0,
        }
        for at in range(num_rows)
    ]
    step = StepView("ppo", "ppo", 1.0, False, "a" * 64, {}, rows)
    return build_report(RunView("long", "", [step], {}, [], "", {}))


def test_of_many_rows_a_page_draws_a_bounded_number() -> None:
    html = page(8_000)
    assert "8,000 rows of metrics" in html
    assert len(html) < 450_000, "of five curves, each drawn twice, with the data of both pictures"
