"""What a model wrote, made safe for a terminal; and two answers side by side, line by line as they come."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence

_REORDER = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C)))
_PLAIN = str.maketrans({"\u2028": "\n", "\u2029": "\n", "\x85": "\n", "\t": "    "})
GAP = " | "


def printable(text: str) -> str:
    """The text without what a terminal would obey: control characters, and marks that reorder what stands beside them.

    >>> printable("a\\x1b[31mb\\tc\\n")
    'a[31mb    c\\n'
    """
    return "".join(c for c in text.translate(_PLAIN) if c == "\n" or not _obeyed(c))


def _obeyed(character: str) -> bool:
    return character in _REORDER or unicodedata.category(character) in ("Cc", "Cs")


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` cells, broken at spaces where that is possible. More text changes the last line only."""
    from rich.cells import cell_len

    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            joined = f"{line} {word}" if line else word
            if cell_len(joined) <= width:
                line = joined
                continue
            if line:
                lines.append(line)
            *full, line = _chunks(word, width)
            lines += full
        lines.append(line)
    return lines


def _chunks(word: str, width: int) -> Iterator[str]:
    from rich.cells import cell_len

    chunk = ""
    for character in word:
        if chunk and cell_len(chunk + character) > width:
            yield chunk
            chunk = ""
        chunk += character
    yield chunk


def side_by_side(streams: Sequence[Iterator[str]], width: int, write: Callable[[str], None]) -> None:
    """Writes streams in columns. A row is written once none of its cells can change any more."""
    from rich.cells import set_cell_size

    column = (width - len(GAP) * (len(streams) - 1)) // len(streams)
    texts = [""] * len(streams)
    ended = [False] * len(streams)
    written = 0
    while True:
        for i, stream in enumerate(streams):
            if not ended[i]:
                piece = next(stream, None)
                ended[i] = piece is None
                texts[i] += printable(piece or "")
        lines = [wrapped(text, column) for text in texts]
        sure = [len(of_one) - (not done) for of_one, done in zip(lines, ended, strict=True)]
        known = [num for num, done in zip(sure, ended, strict=True) if not done]
        upto = min(known) if known else max(sure)
        for row in range(written, upto):
            cells = [of_one[row] if row < len(of_one) else "" for of_one in lines]
            write(GAP.join(set_cell_size(cell, column) for cell in cells).rstrip() + "\n")
        written = max(written, upto)
        if all(ended):
            return
