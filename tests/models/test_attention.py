from __future__ import annotations

import torch

from accord.models.attention import Sharing, bias_of, grouped_attention, shared_attention


def test_which_rows_are_whose() -> None:
    """Rows 0 and 2 are of prompt 1, row 1 of prompt 0, and none is left of prompt 2."""
    sharing = Sharing.of(torch.tensor([1, 0, 1]), torch.zeros(3, 4))
    assert sharing.rows.tolist() == [[1, 0], [0, 2], [0, 0]]
    assert sharing.place_of_row.tolist() == [0, 0, 1]


def test_shared_keys_are_as_keys_of_each_row() -> None:
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

    sharing = Sharing.of(prompt_of_row, bias_of(prompt_seen, torch.float64))
    own_bias = bias_of(seen, torch.float64)
    found = shared_attention(query, key, value, 0.3, own_bias, prompt_key, prompt_value, sharing)
    torch.testing.assert_close(found, expected)
