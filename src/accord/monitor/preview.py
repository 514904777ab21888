"""What a model is given of a record: its tokens, which of them are trained on, and how responses branch off a prompt.

Tokens and masks are those of training, made by `accord.text.template.Template`; here they are only shown: as text with
colours (or with marks, where there are none), and as an HTML page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from accord.data.audit.passages import ordered_pairs, responses_of
from accord.data.derive import mean_grades
from accord.data.formats.reading import Reading
from accord.errors import UserError
from accord.monitor.values import clean
from accord.text.pieces import Piece, pieces

if TYPE_CHECKING:
    from accord.text.template import Template

NOUNS = {"labelled": "labelled response"}
WINDOW = 512  # tokens of a text that are shown together
VISIBLE = {"\n": "↵\n", " ": "·", "\t": "→", "\r": "␍", "\u00a0": "⍽"}

# Terminal colours: given text is plain, a control token bold; what is trained on is black on green.
RESET, CONTROL, TRAINED, TRAINED_CONTROL = "\x1b[0m", "\x1b[1;33m", "\x1b[30;42m", "\x1b[1;30;43m"
OPENED, CLOSED = "[[", "]]"


@dataclass(frozen=True, slots=True)
class Branch:
    """What follows the prompt: one response, or the rest of a conversation."""

    title: str
    pieces: list[Piece]


@dataclass(frozen=True, slots=True)
class Preview:
    """A record as a tree: the prompt once, and its branches. notes: what is said of it as a whole."""

    place: str
    notes: list[str]
    prompt: list[Piece]
    branches: list[Branch]


def preview(template: Template, reading: Reading, at: int) -> Preview:
    """The record number `at` of a reading. Raises UserError as training would."""
    record, kind = reading.records[at], reading.kind
    if kind == "ratings":
        raise UserError(
            "texts with ratings are measured, and not trained on",
            remedy="Preview demonstrations, comparisons or texts.",
        )
    notes = [NOUNS.get(kind, kind.removesuffix("s"))]
    titles: list[str] = []
    if kind == "prompts":
        ids = template.prompt_ids(record)
        return Preview(reading.places[at], ["prompt, to be answered"], _given(template, ids), [])
    if kind == "texts":
        tree = template.documents(record, WINDOW)[0]
        titles = ["text"]
    elif kind == "demonstrations":
        tree = template.demonstration(record)
        titles = ["response" if tree.branches[0].scored is None else "the conversation from its first imitated turn"]
    elif kind == "labelled":
        tree = template.tree(record.prompt, [record.response])
        titles = [f"response, called {'good' if record.good else 'bad'}"]
    else:
        comparison, judgements = record
        tree = template.scored_tree(comparison.prompt, comparison.responses)
        grades = mean_grades(judgements, len(comparison.responses))
        names = [field for field, _, _ in responses_of(kind, record)]
        titles = [f"{name}, {_grade(grade)}" for name, grade in zip(names, grades, strict=True)]
        pairs = [f"{names[better]} > {names[worse]}" for better, worse in ordered_pairs(comparison, judgements)]
        notes.append(f"pairs: {', '.join(pairs)}" if pairs else "no ordered pair")
    trained = kind != "labelled" or record.good  # nobody imitates a bad response
    branches = []
    for title, branch in zip(titles, tree.branches, strict=True):
        scored = branch.scored if branch.scored is not None else (trained,) * len(branch.ids)
        size = (
            f"{len(branch.ids):,} tokens, {sum(scored):,} trained on" if not all(scored) else f"{len(scored):,} tokens"
        )
        shown = pieces(template.tokenizer, branch.ids, scored, tree.prompt_ids)
        branches.append(Branch(f"{title}, {size}", shown))
    return Preview(reading.places[at], notes, _given(template, tree.prompt_ids), branches)


def _given(template: Template, ids: Sequence[int]) -> list[Piece]:
    return pieces(template.tokenizer, ids, [False] * len(ids))


def _grade(grade: float | None) -> str:
    return "not graded" if grade is None else f"grade {grade:g}"


def num_tokens(shown: Sequence[Piece]) -> int:
    return sum(len(piece.ids) for piece in shown)


def preview_lines(one: Preview, *, colour: bool) -> Iterator[str]:
    """The tree as lines for a terminal. Without colour what is trained on stands between [[ and ]]."""
    yield f"{clean(one.place)}: {'; '.join(one.notes)}"
    yield f"┌ prompt, {num_tokens(one.prompt):,} tokens, given"
    yield from _hanging(one.prompt, "│ " if one.branches else "  ", colour)
    for number, branch in enumerate(one.branches, start=1):
        last = number == len(one.branches)
        yield f"{'└' if last else '├'} {branch.title}"
        yield from _hanging(branch.pieces, "  " if last else "│ ", colour)


def _hanging(shown: Sequence[Piece], edge: str, colour: bool) -> Iterator[str]:
    text = "".join(_runs(shown, colour))
    return (f"{edge}{line}" for line in text.split("\n"))


def _runs(shown: Sequence[Piece], colour: bool) -> Iterator[str]:
    """The text of each run of pieces that look alike, with its colour or its marks; colours end with their line."""
    at = 0
    while at < len(shown):
        stop = at
        while stop < len(shown) and _look(shown[stop], colour) == _look(shown[at], colour):
            stop += 1
        look = _look(shown[at], colour)
        text = "".join(visible(piece.text) for piece in shown[at:stop])
        if colour and look:
            text = look + text.replace("\n", f"{RESET}\n{look}") + RESET
        elif look:
            text = f"{OPENED}{text}{CLOSED}"
        yield text
        at = stop


def _look(piece: Piece, colour: bool) -> str:
    if not colour:
        return OPENED if piece.trained else ""
    if piece.trained:
        return TRAINED_CONTROL if piece.special else TRAINED
    return CONTROL if piece.special else ""


def visible(text: str) -> str:
    """Text in which white space can be seen, and that steers no terminal.

    >>> visible("a b\\x1b[2J")
    'a·b�[2J'
    """
    return "".join(VISIBLE.get(character) or clean(character) for character in text)


def previews(template: Template, reading: Reading, num: int) -> list[Preview]:
    """The first records. Raises UserError when there is none."""
    if not reading.records:
        raise UserError("no row can be used, so there is nothing to show", remedy="Run: accord data check SOURCE")
    return [preview(template, reading, at) for at in range(min(num, len(reading.records)))]
