"""Texts that are the same, or nearly, or that quote one another.

Equal: the same words, whatever their case and punctuation. Near-duplicates: the Jaccard similarity of their sets of
three words in a row, |A and B| / |A or B|, is at least a threshold; candidates come from MinHash and locality-sensitive
hashing (Broder 1997), and each is verified exactly. Overlap with evaluation texts is that of word 13-grams, as in GPT-3
(arXiv:2005.14165, appendix C). Words that stand in most texts are a template, and make no two texts alike.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

THRESHOLD = 0.8
SHINGLE = 3  # words
NUM_HASHES = 128
RECALL = 0.999  # of the pairs at the threshold, before the exact verification

NGRAM = 13  # words
MIN_NGRAM = 6  # a shorter text is found in innocent ones
TEMPLATE_OF = 10  # an n-gram of more evaluation texts than this says nothing of any of them

# Scripts that put no spaces between words (kana, Han, Thai): each of their characters counts as a word.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0e7f"
_WORDS = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")


@dataclass(frozen=True, slots=True)
class Overlap:
    """A text holds words of an evaluation text in the same order.

    text, other: indices into the two lists. share: of the evaluation text's n-grams, those that stand in the text.
    """

    text: int
    other: int
    share: float


def normalise(text: str) -> str:
    """Lower case, without punctuation, single spaces: two texts with the same normalised text are duplicates.

    >>> normalise("  It's   GREAT, really! ")
    'its great really'
    """
    return " ".join(re.sub(r"[^\w\s]|_", "", text.lower()).split())


def identity(text: str) -> str:
    """What equal texts have in common: the normalised text, or the text itself where that is empty ("?" is not "!")."""
    return normalise(text) or text.strip()


def near_duplicates(texts: Sequence[str], threshold: float = THRESHOLD) -> list[set[int]]:
    """The groups of two and more texts that are equal or near-duplicates, as indices, in order of their first text.

    Groups are transitive: a text is in the group of each of its near-duplicates. A threshold of 1 finds equal texts
    only. The order of the texts does not change the groups.
    """
    places: dict[str, list[int]] = {}
    for index, text in enumerate(texts):
        places.setdefault(identity(text), []).append(index)
    distinct = list(places)
    roots = _join_similar(distinct, threshold) if threshold < 1 else list(range(len(distinct)))
    groups: dict[int, set[int]] = defaultdict(set)
    for text, root in zip(distinct, roots, strict=True):
        groups[root].update(places[text])
    return sorted((group for group in groups.values() if len(group) > 1), key=min)


def ngram_overlap(texts: Sequence[str], others: Sequence[str], n: int = NGRAM) -> list[Overlap]:
    """Which texts hold words of which evaluation texts (`others`): every pair that shares n words in a row.

    Where one of the two has fewer words, all of it counts as its only n-gram, if it has at least 6. An n-gram of more
    than 10 different evaluation texts is a template and is not counted. Of equal evaluation texts the first is named.
    """
    first: dict[str, int] = {}
    for index, other in enumerate(others):
        first.setdefault(normalise(other), index)
    targets = [(words, index) for text, index in first.items() if len(words := _words(text)) >= MIN_NGRAM]
    by_start: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for target, (words, _) in enumerate(targets):
        for start in set(_grams(words, MIN_NGRAM)):
            by_start[start].append(target)
    counts: dict[int, Counter[tuple[str, ...]]] = {}  # length -> in how many evaluation texts each n-gram stands

    def shared(words: list[str], target: int) -> float:
        length = min(n, len(words), len(targets[target][0]))
        if length not in counts:
            counts[length] = Counter(gram for other, _ in targets for gram in set(_grams(other, length)))
        grams = {gram for gram in _grams(targets[target][0], length) if counts[length][gram] <= TEMPLATE_OF}
        return len(grams.intersection(_grams(words, length))) / len(grams) if grams else 0.0

    found: dict[str, list[tuple[int, float]]] = {}
    for text in {normalise(text) for text in texts}:
        words = _words(text)
        near = {target for start in set(_grams(words, MIN_NGRAM)) for target in by_start.get(start, ())}
        found[text] = [(targets[target][1], share) for target in sorted(near) if (share := shared(words, target))]
    return [Overlap(i, other, share) for i, text in enumerate(texts) for other, share in found[normalise(text)]]


def _join_similar(texts: Sequence[str], threshold: float) -> list[int]:
    """For each text the index that stands for its group."""
    from datasketch import MinHash, MinHashLSH

    shingles = _without_templates([_shingles(text) for text in texts])
    rows = _num_rows(threshold)
    index = MinHashLSH(num_perm=NUM_HASHES, params=(NUM_HASHES // rows, rows))
    roots = list(range(len(texts)))
    for i, sketch in enumerate(MinHash.generator(shingles, num_perm=NUM_HASHES, hashfunc=_same)):
        if not shingles[i]:
            continue
        for j in index.query(sketch):
            a, b = _root(roots, i), _root(roots, j)
            if a != b and _jaccard(shingles[i], shingles[j]) >= threshold:
                roots[max(a, b)] = min(a, b)
        index.insert(i, sketch, check_duplication=False)
    return [_root(roots, i) for i in range(len(texts))]


def _root(roots: list[int], index: int) -> int:
    while roots[index] != index:
        roots[index] = roots[roots[index]]
        index = roots[index]
    return index


def _num_rows(threshold: float) -> int:
    """The most rows a band (the fewest candidates) with which a pair at the threshold is found with RECALL."""
    return max(
        (rows for rows in range(1, 17) if 1 - (1 - threshold**rows) ** (NUM_HASHES // rows) >= RECALL), default=1
    )


def _shingles(text: str) -> frozenset[int]:
    return frozenset(map(_hash, _grams(_words(text), SHINGLE)))


def _without_templates(shingles: Sequence[frozenset[int]]) -> list[frozenset[int]]:
    """Shingles of more than half of the texts, or of more than 500, are a template: it makes no texts alike.

    That is also what keeps the number of candidates far below the square of the number of texts.
    """
    counts = Counter(shingle for each in shingles for shingle in each)
    limit = min(500, max(20, len(shingles) // 2))
    templates = {shingle for shingle, count in counts.items() if count > limit}
    return [each - templates for each in shingles]


def _jaccard(a: frozenset[int], b: frozenset[int]) -> float:
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)


def _words(text: str) -> list[str]:
    return _WORDS.findall(text)


def _grams(words: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    """The runs of n words; all words where there are fewer."""
    return (tuple(words[start : start + n]) for start in range(max(len(words) - n, 0) + 1)) if words else iter(())


def _hash(words: Iterable[str]) -> int:
    return int.from_bytes(hashlib.blake2b(" ".join(words).encode("utf-8", "replace"), digest_size=4).digest(), "little")


def _same(value: int) -> int:
    return value
