from __future__ import annotations

import pytest
import torch

from accord.models.attention import Sharing, TreeAttention, _Taken, bias_of, grouped_attention, shared_attention
from accord.text.segments import Product


def test_which_rows_are_whose() -> None:
    """Rows 0 and 2 are of prompt 1, row 1 of prompt 0, and none is left of prompt 2."""
    sharing = Sharing.of(torch.tensor([1, 0, 1]), torch.zeros(3, 4))
    assert sharing.rows.tolist() == [[1, 0], [0, 2], [0, 0]]
    assert sharing.place_of_row.tolist() == [0, 0, 1]


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-12), (torch.float32, 1e-6), (torch.bfloat16, 0.02)])
def test_shared_keys_are_as_keys_of_each_row(dtype: torch.dtype, error: float) -> None:
    """7 rows of 3 prompts of 5, 2 and 4 tokens, with 1 to 6 tokens of their own: 2 groups of 3 heads each."""
    seeded = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=seeded, dtype=torch.float64)

    prompt_of_row = torch.tensor([2, 0, 0, 2, 0, 1, 2])
    prompt_lengths, lengths = torch.tensor([5, 2, 4]), torch.tensor([1, 6, 3, 2, 2, 5, 4])
    query, key, value = drawn(7, 6, 1, 8), drawn(7, 2, 6, 8), drawn(7, 2, 6, 8)
    prompt_key, prompt_value = drawn(3, 2, 5, 8), drawn(3, 2, 5, 8)
    seen = torch.arange(6) < lengths[:, None]
    prompt_seen = torch.arange(5) < prompt_lengths[:, None]

    every_key = torch.cat([prompt_key[prompt_of_row], key], dim=2)
    every_value = torch.cat([prompt_value[prompt_of_row], value], dim=2)
    bias = bias_of(torch.cat([prompt_seen[prompt_of_row], seen], dim=1), torch.float64)[:, None, None, None]
    expected = grouped_attention(query, every_key, every_value, 0.3, bias)

    sharing = Sharing.of(prompt_of_row, bias_of(prompt_seen, dtype))
    ours = (one.to(dtype) for one in (query, key, value))
    of_prompts = (one.to(dtype) for one in (prompt_key, prompt_value))
    found = shared_attention(*ours, 0.3, bias_of(seen, dtype), *of_prompts, sharing)
    assert found.dtype == dtype
    assert (found - expected).abs().max() < error


def test_gradients_of_a_shared_prompt_are_summed_in_fp32() -> None:
    """In bfloat16 256 + 1 is 256, so a sum of a thousand ones would end there."""
    row = torch.zeros(2, 3, dtype=torch.bfloat16, requires_grad=True)
    once, often = _Taken.apply(row, torch.tensor([0]), torch.zeros(999, dtype=torch.int64))
    (once.sum() + often.sum()).backward()
    assert row.grad is not None
    assert row.grad.tolist() == [[1000.0] * 3, [0.0] * 3]


def test_attention_by_hand() -> None:
    """Scores are 0, so what is seen is averaged: prompt p0 p1, then a0 and b0, whose values are 1, 3, 8 and 20."""
    first, filled = torch.tensor([[0, 1]]), torch.tensor([[2, 2], [3, 3]])
    prompt = Product(first, first, torch.tensor([[[True, False], [True, True]]]))
    branches = Product(filled, torch.tensor([[0, 1, 2], [0, 1, 3]]), torch.ones(2, 2, 3, dtype=torch.bool))
    layout = TreeAttention([branches, prompt], torch.float32)
    values = torch.tensor([1.0, 3.0, 8.0, 20.0]).view(1, 1, 4, 1)
    nothing = torch.zeros(1, 2, 4, 1)
    out = layout.attend(0, nothing, nothing[:, :1], values, 1.0)
    assert out.shape == (1, 2, 4, 1)
    torch.testing.assert_close(out[0, 0, :, 0], torch.tensor([1.0, 2.0, 4.0, 8.0]))
    torch.testing.assert_close(out[0, 1], out[0, 0])
