"""What a reward is: numbers for the responses to prompts, from text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from accord.algorithms.drift import ordering
from accord.algorithms.ensemble import spread
from accord.types import Prompt, Response


class Reward(Protocol):
    """Scores text, so that the one who scores may have a tokenizer and a template of its own."""

    def score(
        self,
        prompts: Sequence[Prompt],
        responses: Sequence[Sequence[Response]],
        advance: Callable[[int], None] | None = None,
    ) -> Tensor:
        """[P * K] fp32, prompt by prompt. Higher is better. `advance` is told of prompts done."""
        ...


@runtime_checkable
class Composed(Reward, Protocol):
    """A reward made of several, which may disagree."""

    def members(
        self,
        prompts: Sequence[Prompt],
        responses: Sequence[Sequence[Response]],
        advance: Callable[[int], None] | None = None,
    ) -> Tensor:
        """[M, P * K] fp32: what each says."""
        ...

    def combined(self, scores_mn: Tensor) -> Tensor:
        """[P * K]: the score, from what `members` gave."""
        ...


@runtime_checkable
class Gated(Reward, Protocol):
    """A reward that also says which responses are not to be imitated at all; perhaps of safety prompts alone."""

    @property
    def only_safety_prompts(self) -> bool: ...

    def gated(
        self,
        prompts: Sequence[Prompt],
        responses: Sequence[Sequence[Response]],
        advance: Callable[[int], None] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """[P * K] fp32, the scores; and [P * K] bool, the responses that fail."""
        ...


def scored(
    reward: Reward, prompts: Sequence[Prompt], responses: Sequence[Sequence[Response]]
) -> tuple[Tensor, float | None]:
    """The scores, [P * K], and of a reward made of several how far these are apart: the standard deviation over them,
    averaged over responses."""
    if not isinstance(reward, Composed):
        return reward.score(prompts, responses), None
    members = reward.members(prompts, responses)
    return reward.combined(members), float(spread(members).mean())


def watched(
    name: str,
    reward: Reward,
    prompts: Sequence[Prompt],
    responses: Sequence[Sequence[Response]],
    trained: Tensor | None = None,
) -> dict[str, float]:
    """Metrics of a reward that is looked at: the mean score, and how far those that it is made of are apart.

    trained: [P * K], the scores that are trained on; then also `agreement/NAME`, the share of the pairs of responses to
    one prompt that they order as this reward does, and `confidence/NAME`, the share that they would say of themselves.
    """
    scores, apart = scored(reward, prompts, responses)
    found = {f"watch/{name}": float(scores.mean())}
    if apart is not None:
        found[f"spread/{name}"] = apart
    groups = (len(responses), -1)
    fresh = None if trained is None else ordering(trained.view(groups).numpy(), scores.view(groups).numpy())
    return found if fresh is None else {**found, f"agreement/{name}": fresh[0], f"confidence/{name}": fresh[1]}
