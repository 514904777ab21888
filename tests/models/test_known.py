"""Dimensions of models whose files are not here, against the parameters that their makers state."""

from __future__ import annotations

import pytest
from transformers import AutoConfig

from accord.models.cost import Dimensions, dimensions_of
from accord.models.known import KNOWN, known_name

PARAMETERS = {  # as the makers or the hub state them, in billions
    "llama-2-7b": 6.738,
    "llama-2-13b": 13.016,
    "llama-2-70b": 68.977,
    "code-llama-34b": 33.744,
    "llama-3-8b": 8.030,
    "llama-3-70b": 70.554,
    "llama-3.1-8b": 8.030,
    "llama-3.1-70b": 70.554,
    "qwen-2.5-7b": 7.616,
    "qwen-2.5-14b": 14.770,
    "qwen-2.5-32b": 32.764,
    "qwen-2.5-72b": 72.706,
    "opt-1.3b": 1.316,
    "opt-6.7b": 6.658,
    "opt-13b": 12.853,
    "opt-30b": 29.975,
    "opt-66b": 66,
}


def dimensions(name: str) -> Dimensions:
    return dimensions_of(KNOWN[name].config)


def test_all_have_a_stated_number() -> None:
    assert PARAMETERS.keys() == KNOWN.keys()


@pytest.mark.parametrize("name", KNOWN)
def test_parameters_are_as_stated(name: str) -> None:
    stated = PARAMETERS[name]
    rounded = 0.5 if isinstance(stated, int) else 6e-4
    assert (dimensions(name).policy_parameters + left_out(name)) / 1e9 == pytest.approx(stated, abs=rounded)


def left_out(name: str) -> int:
    """What `Dimensions` does not count: biases, and OPT's embeddings of positions."""
    one = dimensions(name)
    if name.startswith("opt"):
        return 2050 * one.hidden + one.layers * 11 * one.hidden + one.hidden
    if name.startswith("qwen"):
        return one.layers * (one.heads + 2 * one.key_heads) * one.head
    return 0


@pytest.mark.parametrize("name", KNOWN)
def test_transformers_reads_the_same(name: str) -> None:
    config = AutoConfig.for_model(**KNOWN[name].config)
    assert dimensions_of(config.to_dict()) == dimensions(name)


def test_an_mlp_without_a_gate_has_two_matrices() -> None:
    # 12 d^2 of matrices and two norms of d
    assert dimensions("opt-13b").layer_parameters == 12 * 5120**2 + 2 * 5120
    gated = Dimensions(1, 8, 16, 2, 2, 4, 10)
    plain = Dimensions(1, 8, 16, 2, 2, 4, 10, gated=False)
    assert gated.layer_parameters - plain.layer_parameters == 8 * 16
    assert gated.activation_bytes(5, 0, 0, 2) - plain.activation_bytes(5, 0, 0, 2) == 5 * 2 * 16


def test_names_and_ids() -> None:
    assert known_name("Llama-2-7B") == known_name("llama2-7b") == "llama-2-7b"
    assert known_name("meta-llama/llama-2-70b-chat-hf@main") == "llama-2-70b"
    assert known_name("smollm2-135m-instruct") is None
