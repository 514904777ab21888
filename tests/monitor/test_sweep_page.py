"""A sweep as a table and as a page."""

from __future__ import annotations

from typing import Any

import pytest

from accord.monitor.sweep_page import dots_and_intervals, sweep_page
from accord.monitor.sweep_table import markdown, text_lines

PAYLOAD = "<script>alert(1)</script>|{{ 7 * 7 }}"


def setting(label: str, value: float | None, **more: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "label": label, "setting": {"ppo.lam": label}, "value": value, "low": None, "high": None, "interval": "none",
        "beside": {}, "num_runs": 3, "num_done": 3, "failures": {},
    }  # fmt: skip
    return row | more


def content(*settings: dict[str, Any], **more: Any) -> dict[str, Any]:
    runs = [
        {"run": f"r-{one['label']}-seed-1", "label": one["label"], "setting": one["setting"], "seed": 1,
         "status": "done", "why": "", "value": one["value"]}
        for one in settings
    ]  # fmt: skip
    found = {
        "name": "r", "recipe": "r.yaml", "metric": "gold_win_rate", "of": "ppo", "lower": False,
        "set": {"ppo.lam": ["0.9", "1"], "ppo.kl_coef": ["0.1"], "seed": ["4"]}, "seeds": [1, 2, 3],
        "verdict": "Not told apart.", "settings": list(settings), "runs": runs, "created": "2026-01-02",
    }  # fmt: skip
    return found | more


TWO = content(
    setting("0.9", 0.7, low=0.6, high=0.8, interval="t", beside={"kl": 2.0}),
    setting(
        "1", 0.8, low=0.79, high=0.81, interval="range", num_done=2, beside={"kl": 12.5},
        failures={"seed 3": "the KL is not finite", "seed 4": "the KL is not finite"}, num_runs=4,
        difference={"value": 0.1, "low": -0.0125, "high": 0.2125, "interval": "range", "num_pairs": 2},
    ),
)  # fmt: skip


def test_the_table_for_a_terminal() -> None:
    lines = text_lines(TWO)
    assert lines[:2] == ["gold_win_rate of ppo, seeds 1, 2, 3", ""]
    assert [" ".join(line.split()) for line in lines[2:]] == [
        "setting gold_win_rate interval paired difference to the first kl runs",
        "0.9 0.700 0.600 to 0.800 – 2.000 3 of 3",  # noqa: RUF001
        "1 0.800 0.790 to 0.810 (min to max) +0.100 (min -0.013, max +0.212, 2 of 4 seeds) 12.500"
        " 2 of 4; 2 failed: the KL is not finite",
        "",
        "Not told apart.",
        "interval: 95 % interval of the mean over runs (Student's t)",
        "interval (min to max): of two runs: smallest to largest, which is no confidence interval",
        "paired difference to the first setting: the mean, over seeds, of a run less the first setting's run of the"
        " same seed; (min, max): of two seeds the smaller and the larger, which is no confidence interval",
        "in every run: ppo.kl_coef=0.1",
    ]


def test_columns_stand_below_each_other() -> None:
    lines = text_lines(TWO)[2:5]
    ends = [line.index("  " + end) for line, end in zip(lines, ("runs", "3 of 3", "2 of 4"), strict=True)]
    assert len(set(ends)) == 1


def test_a_setting_of_which_every_run_failed_has_dashes() -> None:
    row = text_lines(content(setting("1", None, num_done=0, failures={"seed 1": "no\nspace"})))[3]
    assert row.split()[:3] == ["1", "–", "–"]  # noqa: RUF001
    assert row.endswith("0 of 3; 1 failed: no space")


def test_one_run_says_so() -> None:
    page = "\n".join(text_lines(content(setting("1", 0.5, low=0.4, high=0.6, interval="prompts"), seeds=[1])))
    assert "0.400 to 0.600 (one run)" in page
    assert "which says nothing of how runs differ" in page
    assert page.startswith("gold_win_rate of ppo, seed 1\n")


def test_differences_say_what_they_are() -> None:
    t = {"value": -0.5, "low": -0.6, "high": -0.4, "interval": "t", "num_pairs": 3}
    one = {"value": 0.0, "low": None, "high": None, "interval": "none", "num_pairs": 1}
    shown = content(setting("0", 0.5), setting("1", 0.0, difference=t), setting("2", 0.5, difference=one))
    found = "\n".join(text_lines(shown))
    assert "-0.500 (-0.600 to -0.400) " in found
    assert "0.000 (one seed) " in found
    assert "of the same seed; its 95 % interval over seeds (Student's t); (one seed): of one there is no" in found
    assert "-0.500 (-0.600 to -0.400)" in sweep_page(shown)
    assert "paired difference" not in "\n".join(text_lines(content(setting("0", 0.5)))), "there is no other setting"


def test_markdown() -> None:
    lines = markdown(TWO).splitlines()
    assert lines[2:5] == [
        "| setting | gold_win_rate | interval | paired difference to the first | kl | runs |",
        "|---|---:|---:|---:|---:|---|",
        "| 0.9 | 0.700 | 0.600 to 0.800 | – | 2.000 | 3 of 3 |",  # noqa: RUF001
    ]
    hostile = markdown(content(setting(PAYLOAD, 0.5)))
    assert "<script" not in hostile
    assert r"\|{{ 7" in hostile


def test_the_page_shows_every_run_and_every_failure() -> None:
    page = sweep_page(TWO)
    for said in ("2 of 4; 2 failed: the KL is not finite", "Not told apart.", "r-0.9-seed-1", "that of the survivors",
                 "+0.100 (min -0.013, max +0.212, 2 of 4 seeds)"):  # fmt: skip
        assert said in page
    assert page.count("<figure") == 1
    assert "src=" not in page
    assert "default-src 'none'" in page


def test_the_picture_tells_its_numbers_and_keeps_empty_rows() -> None:
    picture = dots_and_intervals(content(setting("0.9", 0.7, low=0.6, high=0.8), setting("1", None, num_done=0)))
    assert "0.9: 0.700, 3 of 3 runs" in picture
    assert ">2. lam=1</text>" in picture
    assert dots_and_intervals(content(setting("1", None))) == ""


@pytest.mark.parametrize("key", ["name", "recipe", "metric", "of", "verdict", "created"])
def test_hostile_text_stays_text(key: str) -> None:
    page = sweep_page(TWO | {key: PAYLOAD})
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;|{{ 7 * 7 }}" in page


def test_hostile_settings_and_reasons_stay_text() -> None:
    rows = content(setting(PAYLOAD, 0.5, failures={"seed 1": PAYLOAD}), set={PAYLOAD: [PAYLOAD]})
    rows["runs"][0] |= {"why": PAYLOAD + "\x1b[31m", "run": PAYLOAD}
    page = sweep_page(rows)
    assert "<script" not in page
    assert "\x1b" not in page + "\n".join(text_lines(rows))
