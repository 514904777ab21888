"""The pictures of a campaign: what they show, what may be missing, and how they look on a dark page."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from accord.monitor.campaign_pictures import agreement_matrix, answers_by_day, first_preferred
from accord.monitor.svg import INK, darkened
from tests.monitor.test_pictures import HOSTILE, SVG, Tags, words

PEOPLE = [
    {"name": "a-1", "num": 12, "value": 0.25, "low": 0.1, "high": 0.5},
    {"name": "a-2", "num": 0, "value": math.nan, "low": 0.0, "high": 1.0},
    {"name": "a-3", "num": 1200, "value": 0.5, "low": 0.47, "high": 0.53},
]


def bars(svg: str) -> list[tuple[float, float, float]]:
    """Of each: left end, width, height."""
    found = []
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        if "mark-rect" in group.get("class", ""):
            for one in group.iter(f"{SVG}path"):
                left, _, width, height = map(float, re.findall(r"-?[\d.]+", one.get("d", ""))[:4])
                found.append((left, width, height))
    return found


def test_days_are_bars_as_high_as_their_answers_and_as_far_apart_as_the_days() -> None:
    svg = answers_by_day([("2026-01-01", 10), ("2026-01-03", 20), ("2026-02-01", 5)])
    (first, width, high), (second, _, higher), (third, _, low) = bars(svg)
    assert higher == pytest.approx(2 * high)
    assert high == pytest.approx(2 * low)
    assert second - first == pytest.approx(2 * width, rel=0.01)
    assert third - first == pytest.approx(31 * width, rel=0.01)
    assert "2026-01-03 20" in svg  # for who cannot see it


def test_one_day_is_no_bar_across_the_picture() -> None:
    svg = answers_by_day([("2026-01-31", 3)])
    ((_, width, _),) = bars(svg)
    assert width < 700 / 10
    assert "2026-01-31" in words(svg)


def test_the_matrix_has_a_number_for_every_two_who_have_pairs_in_common() -> None:
    none = math.nan
    svg = agreement_matrix(["a-1", "a-2", "a-3"], [[1.0, 0.5, none], [0.5, 1.0, 0.875], [none, 0.875, 1.0]])
    assert sorted(word for word in words(svg) if "." in word) == ["0.50", "0.50", "0.88", "0.88"]
    assert {"a-1", "a-2", "a-3"} <= set(words(svg))
    assert len(bars(svg)) == 4


def test_many_people_make_a_large_picture_rather_than_small_numbers() -> None:
    def width(num: int) -> float:
        names = [f"a-{i}" for i in range(num)]
        svg = agreement_matrix(names, [[0.5] * num] * num)
        return float(ElementTree.fromstring(svg).get("width", ""))

    assert width(30) - width(10) > 20 * 40


def test_the_first_one_is_a_dot_a_whisker_and_a_line_at_one_half() -> None:
    svg = first_preferred(PEOPLE)
    shown = words(svg)
    assert {"a-1", "25 % of 12", "a-3", "50 % of 1,200"} <= set(shown)
    assert "a-2" not in shown  # nothing is known
    assert "stroke-dasharray" in svg


def test_without_data_there_is_no_picture() -> None:
    assert answers_by_day([]) == ""
    assert agreement_matrix([], []) == ""
    assert agreement_matrix(["a-1"], [[1.0]]) == ""
    assert first_preferred(PEOPLE[1:2]) == ""


def test_names_are_escaped() -> None:
    svg = first_preferred([{**PEOPLE[0], "name": HOSTILE}]) + agreement_matrix([HOSTILE, "b"], [[1, 0.5], [0.5, 1]])
    assert "script" not in Tags(svg).found


def test_on_a_dark_page_letters_are_light_and_numbers_in_cells_stay_black() -> None:
    svg = agreement_matrix(["a-1", "a-2"], [[1.0, 0.5], [0.5, 1.0]])
    dark = darkened(svg)
    assert f'fill="{INK}"' in svg
    assert f'fill="{INK}"' not in dark
    assert svg.count('fill="#000000"') == dark.count('fill="#000000"') == 2


def test_a_process_of_its_own_draws_the_same() -> None:
    asked = json.dumps({"name": "days", "numbers": {"days": [["2026-01-31", 3]]}, "dark": True})
    command = [sys.executable, "-m", "accord.monitor.campaign_pictures"]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=True)
    assert done.stdout == darkened(answers_by_day([("2026-01-31", 3)]))
