from __future__ import annotations

import json

from accord.data.audit.check import CODES, LEFT_OUT, DataCheck, Model, check_data
from accord.data.audit.lengths import measure
from accord.data.audit.lexicon import Lexicon
from accord.data.audit.personal import find_personal
from accord.data.formats.reading import Flaw, Reading
from accord.data.records import RecordKind
from accord.monitor.data_report import check_page
from accord.monitor.data_text import NUM_SHOWN, as_json, check_lines, histogram_lines
from tests.fixtures.readings import compared, reading
from tests.fixtures.report_page import PAYLOAD, Page

TOXIC = Lexicon("made-up", ("grumb*",))


def checked(*readings: Reading) -> DataCheck:
    named = {f"set {i}": one for i, one in enumerate(readings)}
    return check_data(named, find=find_personal, toxic=TOXIC)


def flawed(num: int, kind: RecordKind = "comparisons") -> Reading:
    flaws = [Flaw(f"f:{i}", "chosen", "is an empty response", "empty-response") for i in range(10, 10 + num)]
    notes = [Flaw("f:2", "", "the responses are tied", "tie")]
    records = [compared("q one", "a", "b"), compared("q two", "c", "d", grades=(0, 0))]
    return Reading(kind, list(records), ["f:1", "f:2"], flaws, notes, num + 2)


def test_every_finding_is_shown_or_counted() -> None:
    lines = list(check_lines(checked(flawed(NUM_SHOWN + 3))))
    assert lines[0] == "empty-response: 23 (left out)"
    assert lines[1] == "  f:10:chosen: is an empty response"
    assert lines[NUM_SHOWN + 1] == "  and 3 more (--all shows them)"
    assert "set 0: 25 rows, 23 left out; 2 comparisons" in lines
    table = [line for line in lines if line.startswith(("empty-response  ", "tie  "))]
    assert [line.split()[:3] for line in table] == [["empty-response", "23", "left"], ["tie", "1", "no"]]
    every = list(check_lines(checked(flawed(NUM_SHOWN + 3)), show_all=True))
    assert sum(line.endswith("is an empty response") for line in every) == NUM_SHOWN + 3


def test_ties_are_shown_and_are_no_defect() -> None:
    assert checked(flawed(0)).num_defects == 0
    assert checked(flawed(2)).num_defects == 2


def test_nothing_wrong_is_said() -> None:
    assert "Nothing wrong was found." in check_lines(checked(reading("comparisons", compared("q", "a", "b"))))


def test_rows_are_in_their_order_whatever_found_them() -> None:
    records = [compared("q", f"{i} {'<eos>' * (i in (9, 10))}", "b") for i in range(1, 12)]
    read = reading("comparisons", *records)
    flaw = Flaw("f:10", "id", "is taken", "repeated-id")
    found = checked(Reading(read.kind, read.records, read.places, [flaw], [], 11)).sets[0].findings
    assert [flaw.place for flaw in found] == ["f:9", "f:10", "f:10"]


def test_bars_are_scaled_to_the_longest() -> None:
    lines = list(histogram_lines(measure("chosen", "words", [1] * 72 + [2] * 36 + [3])))
    assert lines == [
        "  chosen: half at most 1, 95 % at most 2, the longest 3 words",
        "         1 " + "█" * 36 + " 72",
        "         2 " + "█" * 18 + " " * 18 + " 36",
        "    3 to 4 " + "▌" + " " * 35 + " 1",
    ]


def test_lines_fit_a_terminal_and_steer_none() -> None:
    hostile = reading("comparisons", compared("q", "x\n\nHuman: \x1b[2J", "grumb woman"), file="\x1b]0;f")
    lines = list(check_lines(checked(hostile)))
    assert not any("\x1b" in line or "\n" in line for line in lines)
    assert max(len(line) for line in lines if not line.startswith("  \ufffd")) <= 100


def test_every_effect_has_a_reason_that_fits_its_line() -> None:
    width = max(map(len, CODES)) + len("  1,234,567  left out  ")
    assert [name for name, code in CODES.items() if width + len(code.why) > 100] == []
    assert CODES["empty-response"].effect == LEFT_OUT


def test_json_holds_every_finding_and_no_nan() -> None:
    text = json.dumps(as_json(checked(flawed(30), Reading("texts", [], []))), allow_nan=False)
    plain = json.loads(text)
    assert len(plain["sets"][0]["findings"]) == 31
    assert plain["codes"]["empty-response"]["count"] == 30
    assert plain["audit"]["toxicity"]["rows"]["rows"] == 2
    assert plain["num_defects"] == 30


def test_without_any_record_the_share_is_null() -> None:
    assert as_json(checked(Reading("texts", [], [])))["audit"]["toxicity"]["rows"]["interval"]["value"] is None


def test_the_page_escapes_what_it_shows_and_runs_nothing() -> None:
    data = reading("comparisons", compared(PAYLOAD, "a grumb woman a@b.org", f"x\n\nHuman:{PAYLOAD}"), file=PAYLOAD)
    flaw = Flaw(f"{PAYLOAD}:7", PAYLOAD, PAYLOAD, "unparsable")
    page = Page(check_page(checked(Reading(data.kind, data.records, data.places, [flaw], [], 2))))
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert "<script>alert(1)</script>" in page.text
    assert not any(name.startswith("on") or name in ("href", "src") for name, _ in page.attributes)
    for shown in ("unparsable", "1 EMAIL", "gender: women", "Lengths of"):
        assert shown in page.text


def test_a_model_is_named_beside_its_tokens() -> None:
    from tests.data.audit.test_budget import Letters

    result = check_data(
        {"a": reading("comparisons", compared("what?", "abc", "d"))},
        model=Model("letters", Letters()),
        max_tokens=6,
        find=find_personal,
        toxic=TOXIC,
    )
    lines = list(check_lines(result))
    assert "Lengths of a, by the tokens of letters" in lines
    assert list(result.by_code()) == ["over-long"]
    assert "tokens of letters; at most 6 tokens" in Page(check_page(result)).text
