"""Time and memory of passes on a cluster, against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from accord.estimate.cluster import (
    Efficiency,
    Held,
    Passes,
    forward_seconds,
    gather_seconds,
    host_update_seconds,
    offloaded_bytes,
    pass_bytes,
    push_seconds,
    shard_bytes,
    traffic_seconds,
    training_seconds,
    update_seconds,
)
from accord.estimate.cluster_sampling import Burst, sampling, smallest_room
from accord.estimate.devices import Cluster, Device
from accord.models.cost import Dimensions

DEVICE = Device("T", flops=1000.0, memory=10**6, bandwidth=200.0, link=50.0, network=5.0)
EXACT = Efficiency(
    compute=1.0, bandwidth=1.0, link=1.0, step=0.5, latency=0.0, slots=4, in_pieces=1.0, pcie=10.0, host=16.0
)
ONE, FOUR, EIGHT = Cluster(DEVICE, 1, 1), Cluster(DEVICE, 1, 4), Cluster(DEVICE, 2, 4)
MODEL = Dimensions(layers=2, hidden=4, inner=8, heads=2, key_heads=1, head=2, vocabulary=10)


def test_gathers() -> None:
    assert gather_seconds(1000, ONE, EXACT) == 0
    assert gather_seconds(1000, FOUR, EXACT) == pytest.approx(1000 * 3 / 4 / 50)
    assert gather_seconds(1000, EIGHT, EXACT) == pytest.approx(1000 * 7 / 8 / 20), "four adapters of 5"


def test_a_training_pass() -> None:
    """3 forward passes of 8000 operations on 4 GPUs of 1000: 6 s. A micro-batch gathers twice 2 and scatters 4 bytes of
    100 parameters: 800 bytes, 12 s, in which the 6 s are hidden but for one layer of two."""
    passes = Passes(flops=8000, micros=1, parameters=100, trained=100)
    assert training_seconds(passes, 2, FOUR, again=False, assumed=EXACT) == pytest.approx(12 + 6 / 2)
    assert training_seconds(passes, 2, FOUR, again=True, assumed=EXACT) == pytest.approx(12 + 8 / 2)
    assert training_seconds(passes, 2, ONE, again=False, assumed=EXACT) == 24
    assert forward_seconds(passes, 2, FOUR, EXACT) == pytest.approx(3 + 2 / 2)
    adapters = replace(passes, trained=0, share=0.5)
    assert training_seconds(adapters, 2, ONE, again=False, assumed=EXACT) == 12


def test_updates() -> None:
    assert update_seconds(100, 3, FOUR, assumed=EXACT) == pytest.approx(3 * 32 * 100 / (4 * 200))
    # both machines' processors share 32 bytes a parameter, and each GPU's way takes 6 bytes of its eighth
    expected = 3 * (3200 / (2 * 16) + 600 / 80)
    assert update_seconds(100, 3, EIGHT, offload=True, assumed=EXACT) == pytest.approx(expected)
    assert push_seconds(100, FOUR, EXACT) == pytest.approx(200 * 3 / 4 / 50 + 200 / 4 / 10)


def test_shards() -> None:
    held = Held(trained=(100, 60), frozen=(40,), kept=20)
    assert shard_bytes(held, 4) == (16 * 160 + 4 * 20 + 2 * 40) / 4
    assert shard_bytes(held, 4, offload=True) == 2 * 40 / 4
    ends = replace(held, whole_trained=20, whole_frozen=8)
    assert shard_bytes(ends, 4) == 18 * 20 + 2 * 8 + (16 * 140 + 4 * 20 + 2 * 32) / 4
    assert shard_bytes(ends, 1) == shard_bytes(held, 1) == 18 * 160 + 4 * 20 + 2 * 40, "on one, all is whole"


def test_what_is_offloaded() -> None:
    """Each of 4 GPUs copies 4 bytes of a quarter of 100 parameters before either gather, and of its gradients, over 10
    bytes a second: 30 s. The processor writes and reads 32 bytes of each parameter."""
    held = Held(trained=(100, 60), frozen=(40,), kept=20, whole_trained=20, whole_frozen=8)
    assert offloaded_bytes(held, 4) == (16 * 140 + 4 * 20 + 2 * 32) / 4
    assert shard_bytes(held, 4) - offloaded_bytes(held, 4) == 18 * 20 + 2 * 8, "what is whole stays"
    passes = Passes(flops=8000, micros=1, parameters=100, trained=100)
    assert traffic_seconds(passes, FOUR, EXACT, offload=True) == pytest.approx(12 + 30)
    adapters = replace(passes, trained=0)
    assert traffic_seconds(adapters, FOUR, EXACT, offload=True) == pytest.approx(6 + 10)
    assert training_seconds(passes, 2, FOUR, again=False, offload=True, assumed=EXACT) == pytest.approx(42 + 6 / 2)
    assert forward_seconds(passes, 2, FOUR, EXACT, offload=True) == pytest.approx(3 + 5 + 2 / 2)
    assert host_update_seconds(100, 3, EIGHT, EXACT) == pytest.approx(3 * 3200 / (2 * 16))


def test_memory_of_passes() -> None:
    layer, ends = 2 * MODEL.layer_parameters, 2 * 40
    passing = MODEL.passing_bytes(7, 0, 3, 2)
    assert pass_bytes(MODEL, 7, 3, train=False, again=False, assumed=EXACT) == 2 * layer + passing
    kept = MODEL.activation_bytes(7, 0, 3, 2)
    plain = pass_bytes(MODEL, 7, 3, train=True, again=False, assumed=EXACT)
    assert plain == 2 * layer + 6 * MODEL.layer_parameters + ends + passing + kept
    # again: of two layers one is whole, and of both the input of 7 places * 4 numbers * 2 bytes
    head = 3 * 10 * 2
    again = pass_bytes(MODEL, 7, 3, train=True, again=True, assumed=EXACT)
    assert plain - again == (kept - head) // 2 - 2 * 2 * 7 * 4


def test_sampling_by_hand() -> None:
    """Two GPUs, a copy each; 6 responses of 5 tokens, of which 3 and so each copy writes, 3 at once."""
    burst = Burst(responses=6, prompt_tokens=0, mean=5, longest=5, context=10)
    weights, token = 2 * MODEL.policy_parameters, MODEL.cache_bytes(1, 2)
    found = sampling(burst, MODEL, Cluster(DEVICE, 1, 2), 10**6, parallel=1, assumed=EXACT)
    assert found is not None
    assert (found.parallel, found.at_once, found.weights) == (1, 3, weights)
    step = max((weights + 3 * 10 * token) / 200, 3 * MODEL.forward_flops(1, 10, 1) / 1000)
    assert found.seconds == pytest.approx(5 * (step + 0.5))
    assert found.cache == 3 * MODEL.cache_bytes(13, 2)


def test_sampling_in_turns() -> None:
    """No more at once than the cache has room for."""
    burst = Burst(responses=8, prompt_tokens=0, mean=5, longest=5, context=10)
    room = smallest_room(burst, MODEL, 1) + MODEL.cache_bytes(13, 2)
    found = sampling(burst, MODEL, ONE, room, assumed=EXACT)
    assert found is not None
    assert found.at_once == 2
    step = max(
        (2 * MODEL.policy_parameters + 2 * 10 * MODEL.cache_bytes(1, 2)) / 200,
        2 * MODEL.forward_flops(1, 10, 1) / 1000,
    )
    assert found.seconds == pytest.approx(20 * (step + 0.5))
    assert sampling(burst, MODEL, ONE, smallest_room(burst, MODEL, 1) - 1, assumed=EXACT) is None
    shared = sampling(burst, MODEL, Cluster(DEVICE, 1, 2), smallest_room(burst, MODEL, 1) - 1, assumed=EXACT)
    assert shared is not None
    assert shared.parallel == 2, "where it does not fit on one, it may on two"


def test_a_long_response_is_waited_for() -> None:
    """50 steps, of which each writes 2 * 5 / 50 tokens in the mean."""
    burst = Burst(responses=2, prompt_tokens=0, mean=5, longest=50, context=10)
    found = sampling(burst, MODEL, ONE, 10**6, assumed=EXACT)
    assert found is not None
    read = 2 * MODEL.policy_parameters + 0.2 * 10 * MODEL.cache_bytes(1, 2)
    assert found.seconds == pytest.approx(50 * (read / 200 + 0.5))


def test_more_gpus_are_faster_and_hold_less() -> None:
    passes = Passes(flops=1e6, micros=1, parameters=100, trained=100)
    times = [training_seconds(passes, 2, Cluster(DEVICE, 1, num), assumed=EXACT) for num in (1, 2, 4)]
    assert times == sorted(times, reverse=True)
    assert shard_bytes(Held((100,)), 8) < shard_bytes(Held((100,)), 4)
