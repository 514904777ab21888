from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from accord.models import packed
from accord.models.packed import PackedLinears
from accord.models.policy import Policy, hidden_states
from accord.text.tree import Branch, Tree, TreeBatch

needs_bf16 = pytest.mark.skipif(
    not packed._can_pack(torch.zeros(1, 1, dtype=torch.bfloat16)), reason="this processor has no bf16 products"
)


def two_layers(dtype: torch.dtype) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(48, 80), nn.Tanh(), nn.Linear(80, 16, bias=False)).to(dtype)


@needs_bf16
@pytest.mark.parametrize("num_rows", [1, 7, 64, 300])
def test_the_products_are_those_of_the_plain_layers(num_rows: int) -> None:
    module, head = two_layers(torch.bfloat16), torch.randn(33, 16).bfloat16()
    rows = torch.randn(num_rows, 48, generator=torch.Generator().manual_seed(2)).bfloat16()
    with torch.no_grad():
        plain = module(rows)
        linears = PackedLinears(module, head)
        with linears.used():
            inside = module(rows)
        # One rounding of bf16 apart at most: 8 bits of mantissa.
        torch.testing.assert_close(inside, plain, rtol=2**-7, atol=2**-8)
        torch.testing.assert_close(linears.head(plain), plain @ head.T, rtol=2**-7, atol=2**-6)


@needs_bf16
def test_the_weights_are_those_of_when_it_was_made_and_only_within_the_context() -> None:
    module, rows = two_layers(torch.bfloat16), torch.ones(3, 48, dtype=torch.bfloat16)
    with torch.no_grad():
        before = module(rows)
        linears = PackedLinears(module, torch.ones(2, 16, dtype=torch.bfloat16))
        for parameter in module.parameters():
            parameter.zero_()
        with linears.used():
            torch.testing.assert_close(module(rows), before, rtol=2**-7, atol=2**-8)
        assert not module(rows).any()


@needs_bf16
def test_an_error_within_leaves_the_layers_as_they_were() -> None:
    module = two_layers(torch.bfloat16)
    with pytest.raises(ZeroDivisionError), PackedLinears(module, torch.ones(2, 16)).used():
        raise ZeroDivisionError
    assert not any("forward" in vars(layer) for layer in module)


class Attention(nn.Module):
    """Names and shapes as in a decoder; the query is asked again of other rows, which no decoder does."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.q_proj, self.k_proj = nn.Linear(48, 64, bias=bias), nn.Linear(48, 32, bias=bias)
        self.v_proj = nn.Linear(48, 32, bias=bias)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        last = self.k_proj(rows), self.v_proj(rows), self.q_proj(rows)
        return torch.cat([self.q_proj(rows + 1), *last, self.q_proj(rows), self.q_proj(rows)], dim=-1)


@needs_bf16
@pytest.mark.parametrize("bias", [True, False])
def test_layers_with_the_same_rows_are_one_product(bias: bool) -> None:
    module = Attention(bias).bfloat16()
    rows = torch.randn(2, 7, 48, generator=torch.Generator().manual_seed(2)).bfloat16()
    calls = 0
    real = packed._product

    def counted(weight: torch.Tensor, added: torch.Tensor | None) -> packed.Product:
        product = real(weight, added)

        def multiply(given: torch.Tensor) -> torch.Tensor:
            nonlocal calls
            calls += 1
            return product(given)

        return multiply

    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "_product", counted)
        plain = module(rows)
        with PackedLinears(module, torch.randn(4, 48).bfloat16()).used():
            inside = module(rows)
    torch.testing.assert_close(inside, plain, rtol=2**-7, atol=2**-8)
    assert calls == 4  # k, v and q together; q of other rows; q once more, twice


def test_fp32_stays_as_it_is() -> None:
    module, head = two_layers(torch.float32), torch.randn(4, 16)
    linears = PackedLinears(module, head)
    with linears.used():
        assert not any("forward" in vars(layer) for layer in module)
    assert torch.equal(linears.head(torch.ones(2, 16)), torch.ones(2, 16) @ head.T)


@needs_bf16
def test_a_whole_model_says_the_same(tiny_model: Path) -> None:
    from accord.models.attention import TreeAttention

    policy = Policy.load(tiny_model, torch.bfloat16)
    batch = TreeBatch.from_trees([Tree((5, 6, 7), (Branch((8, 9)), Branch((10,))))], 0)
    layout = TreeAttention(batch.groups, torch.bfloat16)
    with torch.no_grad():
        plain = hidden_states(policy.backbone, batch.ids[None], batch.positions[None], layout)
        with PackedLinears(policy.module.base_model, policy.head).used():
            inside = hidden_states(policy.backbone, batch.ids[None], batch.positions[None], layout)
    torch.testing.assert_close(inside, plain, rtol=2**-6, atol=2**-6)
