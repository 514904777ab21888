"""A step by several processes, two of which are played here one after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from accord.algorithms.loss import Loss
from accord.engine import group, leading
from accord.engine.config import Optimization
from accord.engine.learner import Learner
from accord.engine.sampling import Sample, together
from accord.placement import Recompute, Sharding
from accord.text.batching import balanced


class Meeting:
    """Where two processes, threads here, exchange tensors."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(2, timeout=20)
        self.said: list[list[Tensor]] = [[], []]

    def exchange(self, rank: int, tensors: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        self.said[rank] = [tensor.clone() for tensor in tensors]
        self.barrier.wait()
        first, second = self.said
        self.barrier.wait()
        return first, second


class Played:
    """A process of a group of two."""

    size = 2
    sharding: Sharding = "none"
    recompute: Recompute = "off"
    cpu_offload = False
    patience = 0.02

    def __init__(self, rank: int, meeting: Meeting, in_step: bool) -> None:
        self.rank, self.in_step, self._meeting = rank, in_step, meeting

    def gather(self, values: Tensor) -> list[Tensor]:
        return [one for (one,) in self._meeting.exchange(self.rank, [values])]

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        for tensor, one, other in zip(tensors, *self._meeting.exchange(self.rank, tensors), strict=True):
            tensor.copy_(one + other)


def by_two(work: Callable[[], Any], *, in_step: bool = False) -> list[Any]:
    """What two processes make of it."""
    meeting = Meeting()

    def play(rank: int) -> Any:
        with group.joined(Played(rank, meeting, in_step)):
            return work()

    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(play, (0, 1)))


def test_loads_are_dealt_to_whoever_has_least():
    assert balanced([5, 4, 3, 3, 3], 2) == [[0, 3], [1, 2, 4]]  # 8 and 10
    assert balanced([1, 1], 3) == [[0], [1], []]
    assert balanced([], 2) == [[], []]


def test_each_part_is_computed_by_one_process():
    def parts() -> list[tuple[int, bool]]:
        return [(one, group.is_idle()) for one in group.shared([7, 1, 2, 4], float)]

    assert by_two(parts) == [[(7, False)], [(1, False), (2, False), (4, False)]]
    assert not group.is_idle()


def test_a_process_without_a_part_computes_one_for_company():
    def parts() -> list[tuple[int, bool]]:
        return [(one, group.is_idle()) for one in group.shared([7], float)]

    assert by_two(parts) == [[(7, False)], [(7, True)]]


def test_where_layers_are_gathered_all_compute_as_often():
    def parts() -> list[tuple[int, bool]]:
        return [(one, group.is_idle()) for one in group.shared([7, 1, 2, 4], float)]

    assert by_two(parts, in_step=True)[0] == [(7, False), (7, True), (7, True)]


def test_alone_everything_is_ones_own():
    assert list(group.shared(iter([3, 1]), float)) == [3, 1]
    assert group.agreed("now") == "now"
    assert group.summed({"a": 1.5}) == {"a": 1.5}


def test_what_was_computed_by_one_is_known_to_all():
    def values() -> list[Tensor]:
        return group.spread([3, 1, 2], float, lambda one: torch.full((one, 2), float(one)))

    for found in by_two(values):
        assert [(tuple(one.shape), float(one[0, 0])) for one in found] == [((3, 2), 3.0), ((1, 2), 1.0), ((2, 2), 2.0)]


def test_sums_agreements_and_what_is_asked_once():
    def told() -> tuple[Any, ...]:
        rank = group.current().rank
        once = leading.once(lambda added: torch.tensor([rank + added]))(0.5)
        return group.summed({"a": rank + 1.0, f"of_{rank}": 1.0}), group.agreed(f"by {rank}"), once.tolist()

    assert by_two(told) == [({"a": 3.0, "of_0": 1.0, "of_1": 1.0}, "by 0", [0.5])] * 2


def test_the_others_wait_however_long_the_leading_one_takes():
    """It says so: an exchange waits for twenty seconds at most."""
    done = []

    def slow() -> str:
        time.sleep(0.2)
        done.append(group.current().rank)
        return "made"

    assert by_two(lambda: leading.lead(slow)) == ["made", None]
    assert done == [0]


def test_what_the_leading_one_raises_is_raised_there():
    def work() -> None:
        raise ZeroDivisionError

    alone = Played(0, Meeting(), in_step=False)
    alone.patience = 20
    with group.joined(alone), pytest.raises(ZeroDivisionError):
        leading.lead(work)


def test_samples_come_together_in_the_order_of_the_requests():
    parts = [[1], [0, 2]]

    def drawn() -> list[list[Sample]]:
        own = parts[group.current().rank]
        samples = [
            [Sample(0, k, None, 1.0, [request] * (k + 1), [-0.5 * request] * (k + 1), request == 1) for k in range(2)]
            for request in own
        ]
        return together(samples, parts)

    for found in by_two(drawn):
        assert [[one.ids for one in of_request] for of_request in found] == [[[n], [n, n]] for n in range(3)]
        assert [of_request[1].logprobs for of_request in found] == [[0.0, 0.0], [-0.5, -0.5], [-1.0, -1.0]]
        assert [of_request[0].finished for of_request in found] == [False, True, False]
        assert [[one.k for one in of_request] for of_request in found] == [[0, 1]] * 3


def stepped(squares: Sequence[float]) -> tuple[Tensor, dict[str, float], float]:
    """One optimizer step on sum (w - x)^2 / n, of which each process computes some terms; a second weight is unused."""
    module = nn.ParameterDict({"w": nn.Parameter(torch.tensor([2.0])), "unused": nn.Parameter(torch.tensor([1.0]))})
    learner = Learner(module, torch.float32, Optimization(max_grad_norm=1e9, weight_decay=0.0))
    for x in group.shared(squares, lambda one: one):
        total = (module["w"] - x).square().sum()
        learner.accumulate(Loss(total, 1, {"loss": total.detach()}))
    report = learner.step(0.1)
    return learner.masters["w"].clone(), report.metrics, report.grad_norm


@pytest.mark.parametrize("squares", [(1.0, 4.0, 6.0), (4.0,)])
def test_a_gradient_is_that_of_one_process(squares: tuple[float, ...]):
    """d/dw of the mean of (w - x)^2 at w = 2 is 2 (2 - mean x): for 1, 4 and 6 it is -10/3, and the loss 21/3."""
    weight, metrics, norm = stepped(squares)
    mean = sum(squares) / len(squares)
    assert norm == pytest.approx(abs(2 * (2 - mean)), rel=1e-6)
    assert metrics == {"loss": pytest.approx(sum((2 - x) ** 2 for x in squares) / len(squares))}
    for other, told, its_norm in by_two(lambda: stepped(squares)):
        assert torch.allclose(other, weight)
        assert (told, its_norm) == (pytest.approx(metrics), pytest.approx(norm))
