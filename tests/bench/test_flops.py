from __future__ import annotations

from accord.models.cost import Dimensions
from bench.speed.flops import Example, counts, training_flops

MODEL = Dimensions(layers=2, hidden=8, inner=16, heads=2, key_heads=1, head=4, vocabulary=10)


def seen(example: Example) -> int:
    """By going through all tokens."""
    total = sum(range(1, example.prompt + 1))
    for response in example.responses:
        total += sum(example.prompt + place for place in range(1, response + 1))
    return total


def test_a_prompt_counts_once():
    example = Example(5, (2, 3))
    assert example.num_tokens == 10
    assert example.num_flat_tokens == 7 + 8
    assert example.head_rows == 5


def test_what_is_visible_is_the_prompt_and_a_responses_own():
    for example in (Example(5, (2, 3)), Example(1, (1,)), Example(4, ())):
        assert example.num_visible == seen(example)


def test_training_takes_three_forward_passes():
    one = Example(3, (1,))
    attention = 4 * 2 * 4 * 2 * 10  # 4 q a layer for each of 1 + 2 + 3 + 4 pairs
    assert training_flops([one], MODEL) == 3 * (MODEL.forward_flops(4, 0, 1) + attention)
    assert training_flops([one, one], MODEL) == 2 * training_flops([one], MODEL)


def test_a_reward_models_head_is_left_out():
    without = Example(3, (1,), 0)
    assert training_flops([Example(3, (1,))], MODEL) - training_flops([without], MODEL) == 3 * 2 * 8 * 10
    assert counts([without], MODEL)["num_tokens"] == 4
