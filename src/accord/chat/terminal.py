"""Two answers side by side, line by line as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from accord.printable import printable

GAP = " | "
_TAB = " " * 4


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` cells, broken at spaces where that is possible; what a line of the text begins with
    stays. More text changes the last line only."""
    from rich.cells import cell_len

    lines = []
    for paragraph in text.split("\n"):
        begin = len(paragraph) - len(paragraph.lstrip(" "))
        first, *others = paragraph[begin:].split(" ")
        line = ""
        for word in (paragraph[:begin] + first, *others):
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
                texts[i] += printable(piece or "").replace("\t", _TAB)
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
