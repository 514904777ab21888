from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from accord.text.stops import StopTexts

TEXT = st.text(alphabet="ab#", max_size=12)


@given(st.lists(TEXT, max_size=6), st.lists(TEXT, max_size=3))
def test_in_pieces_as_in_one(pieces: list[str], stops: list[str]) -> None:
    whole = "".join(pieces)
    ends = [whole.find(stop) for stop in stops if stop and stop in whole]
    given_out = StopTexts(stops)
    found = "".join(given_out.feed(piece) for piece in pieces) + given_out.feed("", final=True)
    assert found == (whole[: min(ends)] if ends else whole)
    assert given_out.stopped == bool(ends)


def test_no_more_is_held_back_than_may_begin_a_stop() -> None:
    stops = StopTexts(["END", "\n\n"])
    assert stops.feed("an E") == "an "
    assert stops.feed("ast\n") == "East"
    assert stops.feed("b") == "\nb"
