from accord.data.formats.reading import Flaw, Reading, Row, count_codes


def test_a_row_without_an_id_is_called_by_its_file_and_number():
    places = ["prefs/train.jsonl.gz:12", "b.json[0]", "hub:owner/set:row 7", "odd:1.csv:3"]
    assert [Row(place, {}).name for place in places] == ["train-12", "b-0", "set-7", "odd:1-3"]


def test_a_flaw_is_said_in_a_line_of_bounded_length():
    assert str(Flaw("a.jsonl:3", "chosen", "is empty", "empty")) == "a.jsonl:3:chosen: is empty"
    assert str(Flaw("a.jsonl:3", "", "x" * 5000, "unparsable")) == f"a.jsonl:3: {'x' * 200}"


def test_counts_are_by_code_and_rows_are_counted_once():
    flaws = [Flaw("a:1", "x", "", "empty"), Flaw("a:2", "x", "", "tie"), Flaw("a:2", "y", "", "tie")]
    assert list(count_codes(flaws).items()) == [("tie", 2), ("empty", 1)]
    assert Reading("texts", [], [], flaws).num_left_out == 2
