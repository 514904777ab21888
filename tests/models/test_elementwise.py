"""RMSNorm and SwiGLU with gradients of their own, against transformers' own layers, and by hand."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm

from accord.models import elementwise
from accord.models.elementwise import RMSNorm, SwiGLU, own_gradients
from accord.models.policy import Policy
from accord.text.tree import Branch, Tree, TreeBatch

SMALL = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 1, "vocab_size": 50, "pad_token_id": 0}
BATCH = TreeBatch.from_trees([Tree((1, 5, 9), (Branch((7, 8, 2)), Branch((11, 2)))), Tree((4,), (Branch((3, 2)),))])


def drawn(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0, scale: float = 1.0) -> Tensor:
    numbers = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale
    return numbers.to(dtype).requires_grad_()


def plain_norm(rows: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """As transformers writes it, but for the dtype: what is fp64 stays so."""
    wide = rows.to(torch.promote_types(rows.dtype, torch.float32))
    return weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + epsilon)).to(rows.dtype)


def test_a_norm_by_hand():
    # The mean square of (1, 7) is 25: normed (0.2, 1.4). above * weight = (2, 0), of which 0.2 lies along it:
    # (2 - 0.2 * 0.2, 0 - 1.4 * 0.2) / 5. The weight's gradient is above * normed.
    rows, weight = torch.tensor([[1.0, 7.0]], requires_grad=True), torch.tensor([2.0, 3.0], requires_grad=True)
    normed = RMSNorm.apply(rows, weight, 0.0)
    torch.testing.assert_close(normed, torch.tensor([[0.4, 4.2]]))
    normed.backward(torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(rows.grad, torch.tensor([[1.96 / 5, -0.28 / 5]]))
    torch.testing.assert_close(weight.grad, torch.tensor([0.2, 0.0]))


def test_a_gate_by_hand():
    # silu(0) = 0, silu'(0) = 1/2.
    gate, up = torch.tensor([[0.0]], requires_grad=True), torch.tensor([[6.0]], requires_grad=True)
    product = SwiGLU.apply(gate, up)
    product.backward(torch.tensor([[5.0]]))
    assert product.item() == 0
    assert (gate.grad, up.grad) == (torch.tensor([[15.0]]), torch.tensor([[0.0]]))


@pytest.fixture(params=[2, 2**17])
def numbers_of_a_piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Pieces of a row, and of all rows."""
    monkeypatch.setattr(elementwise, "_PIECE", request.param)
    return int(request.param)


@pytest.mark.usefixtures("numbers_of_a_piece")
@pytest.mark.parametrize("shape", [(5, 8), (2, 3, 8), (0, 8)])
def test_a_norm_and_its_gradients_are_those_of_autograd(shape: tuple[int, ...]):
    above = drawn(*shape, seed=2).detach()
    found = []
    for norm in (RMSNorm.apply, plain_norm):
        rows, weight = drawn(*shape), drawn(8, seed=1)
        out = norm(rows, weight, 1e-5)
        out.backward(above)
        found.append((out.detach(), rows.grad, weight.grad))
    (out, of_rows, of_weight), (plain, plain_rows, plain_weight) = found
    assert torch.equal(out, plain)
    torch.testing.assert_close(of_rows, plain_rows)
    torch.testing.assert_close(of_weight, plain_weight)


@pytest.mark.usefixtures("numbers_of_a_piece")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(5, 8), (2, 3, 8), (0, 8)])
def test_a_gate_and_its_gradients_are_those_of_autograd_to_the_last_bit(shape: tuple[int, ...], dtype: torch.dtype):
    above = drawn(*shape, dtype=dtype, seed=2).detach()
    found = []
    for own in (True, False):
        gate, up = drawn(*shape, dtype=dtype, scale=3), drawn(*shape, dtype=dtype, seed=1)
        out = SwiGLU.apply(gate, up) if own else nn.functional.silu(gate) * up
        out.backward(above)
        found.append((out.detach(), gate.grad, up.grad))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_in_bfloat16_a_norm_is_the_same_and_its_gradients_are_nearer_to_the_truth():
    above = drawn(64, 96, dtype=torch.bfloat16, seed=2).detach()
    found = []
    for norm, dtype in ((RMSNorm.apply, None), (plain_norm, None), (plain_norm, torch.float64)):
        rows, weight = (
            drawn(*shape, dtype=torch.bfloat16, seed=s).detach() for s, shape in enumerate([(64, 96), (96,)])
        )
        rows, weight = (one.to(dtype or one.dtype).requires_grad_() for one in (rows, weight))
        out = norm(rows, weight, 1e-5)
        out.backward(above.to(out.dtype))
        assert rows.grad is not None
        assert weight.grad is not None
        found.append((out.detach(), rows.grad.double(), weight.grad.double()))
    own, plain, truth = found
    assert torch.equal(own[0], plain[0])
    for one in (1, 2):
        errors = [(some[one] - truth[one]).norm() / truth[one].norm() for some in (own, plain)]
        assert errors[0] < errors[1]
        assert errors[0] < 0.004  # half of bfloat16's last digit


def test_rows_that_do_not_lie_in_order():
    turned = drawn(8, 5).T.detach().requires_grad_()
    ordered = turned.detach().contiguous().requires_grad_()
    above = drawn(8, 5, seed=3).T.detach()
    for rows in (turned, ordered):
        RMSNorm.apply(rows, torch.ones(8), 1e-5).backward(above)
        SwiGLU.apply(rows, rows).backward(above)
    assert torch.equal(turned.grad, ordered.grad)  # type: ignore[arg-type]


def test_a_frozen_weight_has_no_gradient():
    rows, weight = drawn(3, 8), drawn(8).detach()
    RMSNorm.apply(rows, weight, 1e-5).sum().backward()
    assert rows.grad is not None
    assert weight.grad is None


def changed(kind: str, **sizes: object) -> set[str]:
    """The classes of a tiny model that get gradients of their own."""
    config = AutoConfig.for_model(kind, **{**SMALL, **sizes})
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        module = AutoModelForCausalLM.from_config(config)
        before = {id(part): type(part) for part in module.modules()}
        own_gradients(module)
    parts = [part for part in module.modules() if type(part) is not before[id(part)]]
    assert all(isinstance(part, before[id(part)]) for part in parts)
    return {type(part).__name__ for part in parts}


@pytest.mark.parametrize(
    ("kind", "classes"),
    [
        ("llama", {"LlamaRMSNorm", "LlamaMLP"}),
        ("qwen2", {"Qwen2RMSNorm", "Qwen2MLP"}),
        ("qwen3", {"Qwen3RMSNorm", "Qwen3MLP"}),
        ("mistral", {"MistralRMSNorm", "MistralMLP"}),
        ("phi3", {"Phi3RMSNorm"}),  # gate and up are one matrix
        ("olmo2", {"Olmo2MLP"}),  # rounds after the weight
        ("gemma", set()),  # 1 + weight, gelu
        ("opt", set()),
    ],
)
def test_which_layers_of_which_architecture(kind: str, classes: set[str]):
    """No numbers are in these models, as when one is split over a cluster."""
    assert changed(kind, intermediate_size=48) == classes


def test_another_activation_is_left():
    assert changed("llama", intermediate_size=48, hidden_act="gelu") == {"LlamaRMSNorm"}


def test_layers_that_only_look_like_these_are_left():
    class Scaled(LlamaMLP):
        def forward(self, x: Tensor) -> Tensor:
            return 0.5 * super().forward(x)

    class Shifted(LlamaRMSNorm):
        def forward(self, hidden_states: Tensor) -> Tensor:
            return super().forward(hidden_states) + self.weight.mean() * 1e-6

    class Odd(LlamaRMSNorm):
        def forward(self, hidden_states: Tensor, other: Tensor) -> Tensor:  # type: ignore[override]
            return super().forward(hidden_states) + other

    config = AutoConfig.for_model("llama", **SMALL, intermediate_size=48)
    module = nn.ModuleList([Scaled(config), Shifted(8), Odd(8)])
    own_gradients(module)
    assert [type(part) for part in module] == [Scaled, Shifted, Odd]


def test_an_activation_that_is_trained_is_left_as_it_is():
    class Learned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, rows: Tensor) -> Tensor:
            return nn.functional.silu(rows) * self.scale

    mlp = LlamaMLP(AutoConfig.for_model("llama", **SMALL, intermediate_size=48))
    mlp.act_fn = Learned()
    own_gradients(mlp)
    assert type(mlp) is LlamaMLP
    assert mlp.act_fn.scale.dtype is torch.float32


def test_a_whole_model(tiny_model: Path):
    """What is loaded has these gradients; a copy does, too; without gradients the numbers are the same."""
    policy = Policy.load(tiny_model)
    plain = Policy(copy.deepcopy(policy.module), policy.template)
    for part in plain.module.modules():
        if type(part) is not (original := type(part).__mro__[1]) and type(part).__name__ == original.__name__:
            part.__class__ = original
    assert {type(p) for p in policy.module.modules()} != {type(p) for p in plain.module.modules()}
    gradients = []
    for one in (policy, plain):
        logprobs = one.token_logprobs(BATCH).logprobs
        with torch.no_grad():
            assert torch.equal(one.token_logprobs(BATCH).logprobs, logprobs)
        logprobs.sum().backward()
        gradients.append([logprobs.detach(), *(p.grad for p in one.module.parameters() if p.grad is not None)])
    assert torch.equal(gradients[0][0], gradients[1][0])
    torch.testing.assert_close(gradients[0], gradients[1])
    copied = copy.deepcopy(policy.module)
    assert [type(p) for p in copied.modules()] == [type(p) for p in policy.module.modules()]
