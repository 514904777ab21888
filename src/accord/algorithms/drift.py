"""Whether a reward model still knows better from worse where the policy has gone: fresh pairs, judged by another.

Reward models are right about what they were trained on; a policy that learns from one writes something else, which is
why Ziegler et al. 2019 (arXiv:1909.08593) and Llama 2 (arXiv:2307.09288, section 3.2.4) train theirs anew. NumPy only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def ordering(trained_pk: Floats, judge_pk: Floats) -> tuple[float, float] | None:
    """Of the pairs of responses to one prompt which the judge does not hold for equal: the share that the other scores
    order the same way, a tie of theirs one half; and what these scores, as those of Bradley and Terry, say that share
    is, the mean of sigmoid(|difference|). A model that is calibrated has one number twice. None where there is no pair.

    >>> ordering(np.array([[1.0, 0.0, 2.0]]), np.array([[3.0, 1.0, 2.0]]))[0]
    0.6666666666666666
    """
    first, second = np.triu_indices(trained_pk.shape[1], k=1)
    trained, judged = (scores[:, first] - scores[:, second] for scores in (trained_pk, judge_pk))
    untied = judged != 0
    if not untied.any():
        return None
    gaps = trained[untied].astype(np.float64)
    right = 0.5 + 0.5 * np.sign(gaps) * np.sign(judged[untied])
    return float(right.mean()), float((1 / (1 + np.exp(-np.abs(gaps)))).mean())
