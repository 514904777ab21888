"""Whether two engines have the same policy: the logprobs that they give to the tokens of a few fixed sequences.

A sampler whose weights are not the learner's, or that computes otherwise, teaches what nobody asked for, and nothing
else shows it: its texts look as usual.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accord.engine.readings import Text
from accord.engine.sampling import Engine
from accord.errors import UserError
from accord.seeds import derive_seed

# Nats a token, on average, by the dtype that is computed in; one token may differ by so many times as much.
TOLERANCES = {"float32": 1e-4, "bfloat16": 0.05}
_WORST = 10
_NUM_TEXTS, _NUM_TOKENS = 8, 32


@dataclass(frozen=True, slots=True)
class Agreement:
    """Differences of logprobs, in nats. mean, worst: of all tokens. text, place: where the worst is. found, expected:
    what the two say there."""

    mean: float
    worst: float
    text: int
    place: int
    found: float
    expected: float


def probe_texts(engine: Engine) -> list[Text]:
    """Sequences of tokens of the vocabulary, drawn alike whenever it is as large, as long as the context allows."""
    generator = np.random.Generator(np.random.Philox(key=derive_seed("probe")))
    num = min(_NUM_TOKENS, engine.context or _NUM_TOKENS)
    ids = generator.integers(engine.num_vocabulary, size=(_NUM_TEXTS, num))
    return [Text(tuple(one)) for one in ids.tolist()]


def agreement(sampler: Engine, learner: Engine, texts: Sequence[Text] = ()) -> Agreement:
    """What two engines say of the same texts (`probe_texts`, where none are given)."""
    texts = texts or probe_texts(learner)
    found, expected = ([[one.logprob for one in of] for of in engine.read(texts)] for engine in (sampler, learner))
    rows = [(i, j, f, e) for i in range(len(texts)) for j, (f, e) in enumerate(zip(found[i], expected[i], strict=True))]
    assert rows, "texts of two tokens at least"
    text, place, own, other = max(rows, key=lambda row: _distance(row[2], row[3]))
    mean = sum(_distance(f, e) for _, _, f, e in rows) / len(rows)
    return Agreement(mean, _distance(own, other), text, place + 1, own, other)


def check_agreement(
    sampler: Engine,
    learner: Engine,
    *,
    tolerance: float,
    texts: Sequence[Text] = (),
    where: str = "",
    remedy: str = "Push the learner's weights and ask again; if it stays so, sample with torch.",
) -> Agreement:
    """tolerance: as `TOLERANCES` has them. Raises UserError where the two differ by more."""
    of = agreement(sampler, learner, texts)
    if of.mean <= tolerance and of.worst <= _WORST * tolerance:
        return of
    what = (
        f"the sampler and the learner are not the same policy: their log-probabilities differ by {of.mean:.2g} nats a "
        f"token, and {tolerance:.2g} is allowed; most at token {of.place} of sequence {of.text}, {of.found:.4g} and "
        f"{of.expected:.4g}, by {of.worst:.2g}, where {_WORST * tolerance:.2g} is allowed"
    )
    raise UserError(what, where=where, remedy=remedy)


def _distance(one: float, other: float) -> float:
    """What is no number is as far away as can be."""
    distance = abs(one - other)
    return distance if distance == distance else float("inf")
