from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from accord.models import packed
from accord.models.packed import PackedLinears
from accord.models.policy import Policy, hidden_states
from accord.text.tree import Branch, Tree, TreeBatch

each_dtype = pytest.mark.parametrize(
    "dtype",
    [
        torch.float32,
        pytest.param(
            torch.bfloat16,
            marks=pytest.mark.skipif(
                not packed._can_pack(torch.zeros(1, 1, dtype=torch.bfloat16)),
                reason="this processor has no bf16 products",
            ),
        ),
    ],
)


def assert_close(actual: torch.Tensor, expected: torch.Tensor, roundings: float = 1) -> None:
    """Apart by so many roundings of bf16 (8 bits of mantissa) at most, or by the order of sums in fp32."""
    tolerance = roundings * (2**-7 if actual.dtype == torch.bfloat16 else 2**-19)
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def two_layers(dtype: torch.dtype) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(48, 80), nn.Tanh(), nn.Linear(80, 16, bias=False)).to(dtype)


@each_dtype
@pytest.mark.parametrize("num_rows", [1, 7, 64, 300])
def test_the_products_are_those_of_the_plain_layers(num_rows: int, dtype: torch.dtype) -> None:
    module, head = two_layers(dtype), torch.randn(33, 16).to(dtype)
    rows = torch.randn(num_rows, 48, generator=torch.Generator().manual_seed(2)).to(dtype)
    with torch.no_grad():
        plain = module(rows)
        linears = PackedLinears(module, head)
        with linears.used():
            inside = module(rows)
        assert_close(inside, plain)
        assert_close(linears.head(plain), plain @ head.T, roundings=2)


@each_dtype
def test_the_weights_are_those_of_when_it_was_made_and_only_within_the_context(dtype: torch.dtype) -> None:
    module, rows = two_layers(dtype), torch.ones(3, 48, dtype=dtype)
    with torch.no_grad():
        before = module(rows)
        linears = PackedLinears(module, torch.ones(2, 16, dtype=dtype))
        for parameter in module.parameters():
            parameter.zero_()
        with linears.used():
            assert_close(module(rows), before)
        assert not module(rows).any()


@each_dtype
def test_an_error_within_leaves_the_layers_as_they_were(dtype: torch.dtype) -> None:
    module = two_layers(dtype)
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


@each_dtype
@pytest.mark.parametrize("bias", [True, False])
def test_layers_with_the_same_rows_are_one_product(bias: bool, dtype: torch.dtype) -> None:
    module = Attention(bias).to(dtype)
    rows = torch.randn(2, 7, 48, generator=torch.Generator().manual_seed(2)).to(dtype)
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
        with PackedLinears(module, torch.randn(4, 48).to(dtype)).used():
            inside = module(rows)
    assert_close(inside, plain)
    assert calls == 4  # k, v and q together; q of other rows; q once more, twice


def test_other_dtypes_stay_as_they_are() -> None:
    module, head = two_layers(torch.float64), torch.randn(4, 16, dtype=torch.float64)
    linears = PackedLinears(module, head)
    with linears.used():
        assert not any("forward" in vars(layer) for layer in module)
    assert torch.equal(linears.head(head), head @ head.T)


@each_dtype
def test_a_whole_model_says_the_same(tiny_model: Path, dtype: torch.dtype) -> None:
    from accord.models.attention import TreeAttention

    policy = Policy.load(tiny_model, dtype)
    batch = TreeBatch.from_trees([Tree((5, 6, 7), (Branch((8, 9)), Branch((10,))))])
    layout = TreeAttention(batch.products, dtype)
    with torch.no_grad():
        plain = hidden_states(policy.backbone, batch.ids[None], batch.positions[None], layout)
        with PackedLinears(policy.module.base_model, policy.head).used():
            inside = hidden_states(policy.backbone, batch.ids[None], batch.positions[None], layout)
    assert_close(inside, plain, roundings=2)
