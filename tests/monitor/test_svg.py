"""What all pictures have: their data, files of their own, a narrow form, and colours that follow the page."""

from __future__ import annotations

import csv
import io
import re
from functools import cache
from typing import Any

import pytest

from accord.monitor import narrow
from accord.monitor.calibration_picture import calibration
from accord.monitor.consistency_panel import kept_by_turn
from accord.monitor.distillation_panel import before_and_after
from accord.monitor.orders_picture import orders_picture
from accord.monitor.pictures import accuracy_lines, policy_colours, score_against_kl, win_rates
from accord.monitor.red_team_panel import violations_against_refusals
from accord.monitor.selection_picture import Selected, selection_picture
from accord.monitor.svg import INK, NOTHING, PALETTE, Picture, page_colour, page_colours, themed
from accord.monitor.training_curves import training_curves

FOR_PHONES = Picture._narrow
NAMES = ("start-with-a-name-of-some-length", "sft", "ppo", "ppo-with-a-name-of-some-length")


def share(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


@pytest.fixture(autouse=True)
def phones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests have no pictures for phones (tests.fixtures.hurry)."""
    monkeypatch.setattr(Picture, "_narrow", FOR_PHONES)


@cache
def pictures() -> dict[str, Picture]:
    colours = policy_colours(NAMES)
    policies: dict[str, dict[str, Any]] = {
        name: {"gold_win_rate": 0.5 + at / 10, "gold_win_rate_low": 0.4, "gold_win_rate_high": 0.9, "kl": at,
               "gold_score": at, "gold_score_low": at - 0.5, "gold_score_high": at + 0.5, "proxy_score": at}
        for at, name in enumerate(NAMES)
    }  # fmt: skip
    rows = [
        {"iteration": i, "objective/scores": i, "objective/kl": i, "watch/a-judge-that-looks-on": i, "grad_norm": 1.0}
        for i in range(9)
    ]
    attacked = {name: {"violation_rate": share(0.3), "false_refusal_rate": share(0.2)} for name in NAMES}
    held = {name: {"turns": {"1": share(0.8), "3": share(0.4)}} for name in NAMES}
    orders = [{"rule": r, "order": "safety first", "num": 9, "by_safety": 0.4, "safe": share(0.1), "unsafe": share(-1)}
              for r in ("slide", "paper", "threshold")]  # fmt: skip
    levels = {name: {"num_pairs": 9, "accuracy": 0.7} for name in ("significantly better", "slightly better")}
    curve = [{"predicted": 0.6, "share": 0.55}, {"predicted": 0.8, "share": 0.7}]
    return {
        "win rates": win_rates(policies, "sft", colours, "n: 8 test prompts"),
        "scores": score_against_kl(policies, {"ppo": rows}, colours, "n: 8 test prompts"),
        "accuracy": accuracy_lines({"accuracy": 0.8, "bag_of_words": 0.7, "label_reliability": 0.9, "num_pairs": 40}),
        "curves": training_curves("ppo", "ppo", rows),
        "calibration": calibration("proxy", {"accuracy": 0.7, "num_pairs": 18, "levels": levels, "curve": curve}),
        "orders": orders_picture("both", orders),
        "selection": selection_picture(
            [Selected("reject", "proxy", 1.0, [{"num_samples": n, "max": n, "median": 0} for n in (1, 2, 4)], 16)]
        ),
        "attacks": violations_against_refusals("redteam", attacked, colours, "n: 9 attacks"),
        "held": kept_by_turn("consistency", held, colours, "n: 9 dialogues"),
        "histograms": before_and_after(
            "distill", {name: {"before": [0.0, 1.0], "after": [1.0, 3.0]} for name in ("held_out", "distilled")}
        ),
    }


DRAWN = (
    *("win rates", "scores", "accuracy", "curves", "calibration", "orders", "selection", "attacks", "held"),
    "histograms",
)


def width(svg: str) -> float:
    found = re.search(r'<svg [^>]*?\bwidth="([\d.]+)"', svg)
    assert found is not None
    return float(found[1])


def parts(picture: Picture) -> tuple[str, str]:
    wide, _, small = picture.__html__().partition('<div class="narrow">')
    return wide, small


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_has_a_form_for_phones_in_letters_of_the_same_size(name: str) -> None:
    wide, small = parts(pictures()[name])
    assert width(small) <= narrow.NARROW + 2 < width(wide)
    assert set(re.findall(r'font-size="(\d+)px"', small)) <= set(re.findall(r'font-size="(\d+)px"', wide))
    for label in re.findall(r">(ppo|sft)[^<]*<", wide):
        assert label in small


@pytest.mark.parametrize("name", DRAWN)
def test_colours_follow_the_page(name: str) -> None:
    page = pictures()[name].__html__()
    assert f'"{INK}"' not in page
    assert f"var(--c-222222, {INK})" in page
    plain = re.sub(r"var\((--[\w-]+), (#?\w+)\)", r"\2", parts(pictures()[name])[0])
    assert pictures()[name] in plain


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_has_its_data_and_says_of_how_many_and_what_the_intervals_are(name: str) -> None:
    picture = pictures()[name]
    heads, *rows = csv.reader(io.StringIO(picture.csv))
    assert len(rows) > 1
    assert all(len(row) == len(heads) for row in rows)
    assert picture.note.startswith("n")
    assert "interval" in picture.note
    assert re.fullmatch(r"[a-z0-9-]+", picture.name)


def test_names_tell_the_pictures_of_a_page_apart() -> None:
    assert tuple(pictures()) == DRAWN
    assert len({picture.name for picture in pictures().values()}) == len(DRAWN)
    assert pictures()["win rates"].name == "win-rate-over-sft"
    assert pictures()["curves"].name == "training-curves-of-ppo"
    assert NOTHING.name == "picture"


def test_the_data_are_the_numbers_that_were_given() -> None:
    rows = list(csv.DictReader(io.StringIO(pictures()["win rates"].csv)))
    assert rows[-1] == {"policy": NAMES[3], "by": "gold", "win rate": "0.8", "low": "0.4", "high": "0.9"}
    scores = [row for row in csv.DictReader(io.StringIO(pictures()["curves"].csv)) if row["curve"] == "score"]
    assert [row["value"] for row in scores if row["line"] == "proxy"] == [str(float(i)) for i in range(9)]


def test_a_spreadsheet_takes_no_name_for_a_formula() -> None:
    drawn = win_rates({"=cmd()": {"gold_win_rate": 0.6}}, "sft", {})
    assert drawn.csv.splitlines()[1] == "'=cmd(),gold,0.6"
    assert "%27%3Dcmd%28%29" in drawn.csv_link


def test_files_stand_by_themselves_on_white_ground() -> None:
    files = pictures()["win rates"].files()
    assert list(files) == ["csv", "svg", "png"]
    svg = files["svg"].decode()
    assert 'fill="#ffffff"' in svg
    assert "n: 8 test prompts; 95 % intervals: bootstrap over prompts" in svg
    assert "var(" not in svg
    assert files["png"].startswith(b"\x89PNG")


def test_only_marks_are_coloured_and_every_variable_has_a_value() -> None:
    assert themed('<text fill="#222222">"#222222"</text>') == f'<text fill="{page_colour(INK)}">"#222222"</text>'
    assert page_colour("#123456") == "#123456"
    for dark in (False, True):
        declared = dict(one.split(": ") for one in page_colours(dark=dark).rstrip(";").split("; "))
        assert all(page_colour(c).startswith(f"var({name}") for c, name in zip(("#222222",), declared, strict=False))
    on_dark = dict(one.split(": ") for one in page_colours(dark=True).rstrip(";").split("; "))
    assert len({on_dark.get(f"--c-{c[1:]}", c) for c in PALETTE}) == len(PALETTE), "as many as on a light page"


def test_of_a_hundred_thousand_rows_a_bounded_number_is_drawn_and_the_spike_stays() -> None:
    rows = [{"iteration": i, "loss": 1.0, "grad_norm": 1.0 + i % 2} for i in range(20_000)]
    rows[777]["grad_norm"] = 500.0
    picture = training_curves("sft", "sft", rows)
    assert len(picture.__html__()) < 200_000
    drawn = list(csv.DictReader(io.StringIO(picture.csv)))
    assert len(drawn) == 2 * 200
    assert max(float(row["largest"]) for row in drawn if row["curve"] == "gradient norm") == 500.0
    assert "the band goes from the smallest to the largest" in picture.note
