from __future__ import annotations

import math

import pytest

from accord.data.audit.lexicon import Lexicon
from accord.data.audit.personal import find_personal
from accord.data.audit.shares import audit, is_toxic, parse_groups, toxicity_list
from accord.errors import UserError
from accord.types import PlainText
from tests.fixtures.readings import compared, reading

TOXIC = Lexicon("made-up", ("grumb*",))
GROUPS = {"lighthouse keeper*": ("work", "keepers"), "baker": ("work", "bakers"), "miller": ("work", "millers")}


def texts(*each: str) -> list[object]:
    return [PlainText(str(i), text) for i, text in enumerate(each)]


def test_shares_are_of_rows_and_of_texts() -> None:
    data = reading(
        "comparisons", compared("q", "a grumb", "fine"), compared("Grumbling?", "grumbs", "b"), compared("q", "a", "b")
    )
    result = audit([data], find_personal, TOXIC, {})
    assert (result.all_rows.rows, result.all_rows.removed) == (3, 2)
    assert {part: (share.rows, share.removed) for part, share in result.parts.items()} == {
        "prompt": (3, 1),
        "chosen": (3, 2),
        "rejected": (3, 0),
    }
    assert result.toxic_places == ["f:1", "f:2"]
    assert "the list made-up (1 entries, version " in result.measure


def test_a_group_of_which_a_filter_would_remove_more_than_of_all() -> None:
    keepers = ["a lighthouse-keeper and a grumb"] * 30
    bakers = ["a baker"] * 60 + ["a baker, a grumb"] * 10
    data = reading("texts", *texts(*keepers, *bakers, "nobody"))
    by_name = {group.name: group for group in audit([data], find_personal, TOXIC, GROUPS).groups}
    assert set(by_name) == {"keepers", "bakers"}  # nobody names a miller
    of_all = 40 / 101
    keeper = by_name["keepers"]
    assert (keeper.share.rows, keeper.share.removed) == (30, 30)
    assert keeper.ratio is not None
    assert keeper.ratio.value == pytest.approx(1 / of_all)
    # Wilson for 30 of 30: from 1 / (1 + z^2 / n) = 0.88650 to 1.
    assert keeper.ratio.low == pytest.approx(0.88650 / of_all, rel=1e-4)
    assert keeper.erased
    assert not by_name["bakers"].erased


def test_few_rows_are_never_called_erased_and_nothing_toxic_has_no_ratio() -> None:
    few = audit([reading("texts", *texts(*["baker grumb"] * 10, *["fine"] * 200))], find_personal, TOXIC, GROUPS)
    assert few.groups[0].ratio is not None
    assert few.groups[0].ratio.low > 1
    assert not few.groups[0].erased
    none = audit([reading("texts", *texts("baker"))], find_personal, TOXIC, GROUPS)
    assert none.groups[0].ratio is None


def test_personal_data_has_its_place_and_is_not_quoted() -> None:
    result = audit([reading("comparisons", compared("q", "x", "at a@b.org"))], find_personal, TOXIC, {})
    assert [str(flaw) for flaw in result.personal] == ["f:1:rejected: EMAIL at characters 3 to 10"]
    assert result.personal_counts() == {"EMAIL": 1}


def test_no_rows_at_all() -> None:
    result = audit([], find_personal, TOXIC, GROUPS)
    assert math.isnan(result.all_rows.interval.value)
    assert result.groups == []


def test_a_row_of_any_columns_is_toxic_by_any_text_in_it() -> None:
    assert is_toxic({"a": [{"b": "a GRUMB"}]}, TOXIC)
    assert not is_toxic({"grumb": "fine", "n": 3, "none": None}, TOXIC)
    assert toxicity_list(None).name == "accord-obscene"


@pytest.mark.parametrize(
    ("text", "message"),
    [("baker\n", "x:1: 'baker' is in no group"), ("[a: b]\nx\n[a: c]\nx\n", "x:4: 'x' is in two groups")],
)
def test_groups_that_are_not_well_formed(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_groups(text, "x")
