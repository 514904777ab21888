"""Where a response ends, other than at the end of its turn. No tensors: a recipe is checked without loading them."""

from __future__ import annotations

from pydantic import Field

from accord.strict import StrictModel


class Ending(StrictModel):
    """end_at: a text such as "." with whose first token a response ends, and counts as finished; one without it is
    unfinished (null: responses end by themselves). end_after: so many tokens in which `end_at` is not looked for.

    Ziegler et al. 2019 (arXiv:1909.08593): a summary ends at the first period in its tokens 16 to 24, and without one
    counts as a failure. What is behind the end nobody scores, trains on or compares.
    """

    end_at: str | None = Field(default=None, min_length=1)
    end_after: int = Field(default=0, ge=0)


BY_ITSELF = Ending()
