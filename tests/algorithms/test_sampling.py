"""Drawing tokens: frequencies, bounds, and blocks against the plain running sum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.algorithms.sampling import draw, keep_nucleus


def evenly_spaced(num: int) -> torch.Tensor:
    """With these every share is right to 1 / num."""
    return torch.from_numpy((np.arange(num) + 0.5) / num)


def test_by_hand() -> None:
    """Probabilities 1/4, 1/2, 1/4: the cumulative ones are 1/4, 3/4, 1."""
    logits = torch.tensor([1.0, 2.0, 1.0]).log().expand(5, 3).clone()
    drawn, logprobs = draw(logits, torch.tensor([0.0, 0.2, 0.25, 0.7, 0.8], dtype=torch.float64))
    assert drawn.tolist() == [0, 0, 1, 1, 2]
    expected = torch.tensor([0.25, 0.25, 0.5, 0.5, 0.25]).log()
    torch.testing.assert_close(logprobs, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_frequencies_follow_the_distribution(temperature: float) -> None:
    logits = torch.tensor([0.0, 1.0, -1.0, float("-inf"), 2.0])
    drawn, logprobs = draw(logits.expand(20_000, 5).clone(), evenly_spaced(20_000), temperature)
    expected = (logits / temperature).softmax(0)
    observed = torch.bincount(drawn, minlength=5) / 20_000
    torch.testing.assert_close(observed, expected, atol=1e-4, rtol=0)
    assert observed[3] == 0
    torch.testing.assert_close(logprobs, expected.log()[drawn], atol=1e-6, rtol=0)


@pytest.mark.parametrize("vocabulary", [4, 256, 257, 512, 1000])
def test_extreme_uniforms_draw_possible_tokens(vocabulary: int) -> None:
    """The first and the last possible token, wherever a block begins or ends."""
    logits = torch.full((2, vocabulary), float("-inf"))
    logits[:, [1, vocabulary - 2]] = 0.0
    drawn, logprobs = draw(logits, torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64))
    assert drawn.tolist() == [1, vocabulary - 2]
    torch.testing.assert_close(logprobs, torch.tensor([0.5, 0.5]).log())


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), vocabulary=st.integers(1, 1200), spread=st.sampled_from([0.0, 1.0, 8.0]))
def test_blocks_draw_what_a_plain_running_sum_does(seed: int, vocabulary: int, spread: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(16, vocabulary, generator=rng)
    uniforms = torch.rand(16, generator=rng, dtype=torch.float64)
    drawn, logprobs = draw(logits.clone(), uniforms)
    probabilities = logits.double().softmax(1)
    cumulative = probabilities.cumsum(1)
    after, own = cumulative.gather(1, drawn[:, None]).squeeze(1), probabilities.gather(1, drawn[:, None]).squeeze(1)
    slack = 1e-5  # of fp32 weights
    assert ((after > uniforms - slack) & (after - own < uniforms + slack)).all()
    torch.testing.assert_close(logprobs.double(), own.log(), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [
        (1e-9, [1]),
        (0.5, [1]),
        (0.51, [0, 1]),
        (0.75, [0, 1]),
        (0.76, [0, 1, 2]),
        (0.9, [0, 1, 2, 3]),
        (1.0, [0, 1, 2, 3]),
    ],
)
def test_a_nucleus_by_hand(top_p: float, kept: list[int]) -> None:
    """Probabilities 1/4, 1/2, 1/8, 1/8: the fewest that reach top_p, of equal ones the lower ids."""
    logits = torch.tensor([[0.25, 0.5, 0.125, 0.125]]).log()
    keep_nucleus(found := logits.clone(), torch.tensor([top_p], dtype=torch.float64))
    assert torch.isfinite(found[0]).nonzero().flatten().tolist() == kept
    assert torch.equal(found[0, kept], logits[0, kept])


def test_a_nucleus_is_of_the_distribution_at_the_temperature() -> None:
    """At temperature 1/2 the probabilities 1/3, 2/3 are 1/5, 4/5; each row has a top_p of its own."""
    found = torch.tensor([[1.0, 2.0], [1.0, 2.0]]).log()
    keep_nucleus(found, torch.tensor([0.79, 0.81], dtype=torch.float64), temperature=0.5)
    assert torch.isfinite(found).tolist() == [[False, True], [True, True]]


def test_a_nucleus_that_is_reached_exactly_takes_no_further_token() -> None:
    """Four tokens of 1/4 each."""
    keep_nucleus(found := torch.zeros(3, 4), torch.tensor([0.25, 0.5, 1.0], dtype=torch.float64))
    assert torch.isfinite(found).sum(dim=1).tolist() == [1, 2, 4]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    vocabulary=st.integers(1, 600),
    spread=st.sampled_from([0.0, 1.0, 8.0]),
    step=st.sampled_from([0.0, 0.5, 4.0]),
    temperature=st.sampled_from([0.3, 1.0, 1.7]),
)
def test_a_nucleus_is_what_sorting_all_places_finds(
    seed: int, vocabulary: int, spread: float, step: float, temperature: float
) -> None:
    """Where many tokens are equally probable (logits in steps), and some are impossible."""
    rng = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(11, vocabulary, generator=rng)
    logits = torch.round(logits / step) * step if step else logits
    logits[:, 1:][torch.rand(11, vocabulary - 1, generator=rng) < 0.1] = -torch.inf
    top_p = torch.rand(11, generator=rng, dtype=torch.float64)
    ordered, ids = logits.sort(dim=1, descending=True, stable=True)
    probabilities = (ordered.double() / temperature).softmax(dim=1)
    before = probabilities.cumsum(dim=1) - probabilities
    outside = torch.zeros_like(logits, dtype=torch.bool).scatter(1, ids, before >= top_p[:, None])
    keep_nucleus(found := logits.clone(), top_p, temperature)
    assert torch.equal(found, logits.masked_fill(outside, -torch.inf))
