"""What a policy's responses have in common: self-BLEU, and the words that came and went since the start. NumPy only."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from accord.algorithms.statistics import pearson

Tokens = Sequence[Hashable]

_WORD = re.compile(r"\w+")
_MOST = 40  # characters of a word that count


def self_bleu(groups: Sequence[Sequence[Tokens]], n: int = 3) -> float | None:
    """How alike the responses to one prompt are, in [0, 1]: the mean BLEU-n of each against the prompt's other ones
    (Zhu et al. 2018, "Texygen", arXiv:1802.01886). None where no prompt has two.

    BLEU (Papineni et al. 2002): the geometric mean over orders 1 to n of the clipped precision, times exp(1 - r / c)
    for a response of c tokens that is shorter than the other one of nearest length, r. A response of fewer than n
    tokens has as many orders as it has tokens; an empty one counts 0.

    >>> self_bleu([["ab", "ab"]], n=2), self_bleu([["ab", "cd"]], n=2)
    (1.0, 0.0)
    """
    values = [
        _bleu(own, [*group[:at], *group[at + 1 :]], n)
        for group in groups
        if len(group) > 1
        for at, own in enumerate(group)
    ]
    return sum(values) / len(values) if values else None


def _bleu(own: Tokens, others: Sequence[Tokens], n: int) -> float:
    logs = 0.0
    orders = range(1, min(n, len(own)) + 1)
    for order in orders:
        grams = _grams(own, order)
        most: Counter[tuple[Hashable, ...]] = Counter()
        for other in others:
            most |= _grams(other, order)
        hits = sum(min(count, most[gram]) for gram, count in grams.items())
        if not hits:
            return 0.0
        logs += math.log(hits / grams.total())
    if not own:
        return 0.0
    nearest = min((len(other) for other in others), key=lambda length: (abs(length - len(own)), length))
    return math.exp(logs / len(orders) + min(0.0, 1 - nearest / len(own)))


def _grams(tokens: Tokens, n: int) -> Counter[tuple[Hashable, ...]]:
    return Counter(tuple(tokens[at : at + n]) for at in range(len(tokens) - n + 1))


def words_of(text: str) -> list[str]:
    """In small letters, without punctuation.

    >>> words_of("It's GREAT, great!")
    ['it', 's', 'great', 'great']
    """
    return [word[:_MOST] for word in _WORD.findall(text.lower())]


def coverage(texts: Sequence[str], start: Mapping[str, int]) -> float | None:
    """The share of the words of the start, each as often as it was there, that these texts still hold somewhere. None
    where there were none. start: occurrences.

    >>> coverage(["a b"], {"a": 3, "c": 1})
    0.75
    """
    total = sum(start.values())
    held = {word for text in texts for word in words_of(text)}
    return sum(count for word, count in start.items() if word in held) / total if total else None


def shares(texts: Sequence[str]) -> dict[str, float]:
    """Word -> the share of the texts that hold it."""
    counts = Counter(word for text in texts for word in dict.fromkeys(words_of(text)))
    return {word: count / len(texts) for word, count in counts.items()}


def keyword(texts: Sequence[str], scores: ArrayLike, start: Mapping[str, float]) -> tuple[str, float, float] | None:
    """Of the words in these texts the one whose share of the texts rose most since the start: the word, by how much,
    and the correlation of its presence with the score (NaN where one of them does not vary). None where none rose; of
    several the first in the alphabet. start: as `shares`.

    >>> keyword(["great a", "a", "great"], [2.0, 0.0, 2.0], {"a": 1.0})[0]
    'great'
    """
    rises = {word: share - start.get(word, 0.0) for word, share in shares(texts).items()}
    rises = {word: rise for word, rise in rises.items() if rise > 0}
    if not rises:
        return None
    word = min(rises, key=lambda one: (-rises[one], one))
    present = [float(word in words_of(text)) for text in texts]
    return word, rises[word], pearson(np.asarray(present), scores)
