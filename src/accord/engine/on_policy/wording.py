"""What the responses of an iteration say that those of the first did not, and the other way round.

The first iteration's are the start policy's, so they stand for what it would write: its words, as often as it wrote
them, are its modes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from accord.algorithms.wording import coverage, keyword, self_bleu, shares, words_of
from accord.engine.on_policy.methods import Scored


class Wording:
    """Its state is the words of the first iteration: of each how often it came, and in what share of the responses."""

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        self._state = dict(state) if state else None

    def metrics(self, scored: Scored) -> dict[str, float | str]:
        """`response/self_bleu`, how alike a prompt's responses are. From the second iteration on `response/coverage`,
        the share of the first one's words that are still written; and of the word whose share of the responses rose
        most since then which it is (`keyword/word`, a text), by how much it rose (`keyword/rise`), and the correlation
        of its presence with the score (`keyword/score`)."""
        rollout = scored.rollout
        row: dict[str, float | str] = {}
        alike = self_bleu([[branch.ids for branch in tree.branches] for tree in rollout.trees])
        if alike is not None:
            row["response/self_bleu"] = alike
        texts = [response.text for of_prompt in rollout.responses for response in of_prompt]
        if self._state is None:
            counts = Counter(word for text in texts for word in words_of(text))
            self._state = {"counts": dict(counts), "shares": shares(texts)}
            return row
        covered = coverage(texts, self._state["counts"])
        if covered is not None:
            row["response/coverage"] = covered
        found = keyword(texts, scored.scores.double().numpy(), self._state["shares"])
        if found is not None:
            word, rise, follows = found
            row |= {"keyword/word": word, "keyword/rise": rise}
            if math.isfinite(follows):
                row["keyword/score"] = follows
        return row

    def state(self) -> dict[str, Any] | None:
        """JSON for a checkpoint."""
        return self._state
