"""What becomes of what vLLM says, with a vLLM that says what it is told to. `tests/vllm` has the real one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

from accord.engine.readings import Reading
from accord.engine.sampling import Request, Sample, drain
from accord.engine.vllm_engine import require_vllm
from accord.engine.vllm_sampling import VllmSampling, reading_of
from accord.errors import UserError

END = 2


def told(**ranked: tuple[int, float]) -> dict[int, Any]:
    """By token (`t5`): rank and logprob."""
    return {int(t[1:]): SimpleNamespace(rank=rank, logprob=logprob) for t, (rank, logprob) in ranked.items()}


class FakeVllm:
    """Writes the tokens of `script`, response after response, one a turn; the last of each ends it."""

    end_id = END

    def __init__(self, script: list[list[int]], tells: bool = True) -> None:
        self._script, self._tells = script, tells
        self.asked: list[tuple[Request, int, int, float]] = []
        self.left: dict[str, tuple[list[int], Callable[[Any], None]]] = {}

    def params(self, request: Request, k: int, most: int, temperature: float) -> Any:
        self.asked.append((request, k, most, temperature))

    def tells(self, request: Request, temperature: float) -> bool:
        return self._tells

    def begin(self, ids: Sequence[int], params: Any, sink: Callable[[Any], None]) -> str:
        name = str(len(self.asked))
        self.left[name] = (list(self._script[len(self.asked) - 1]), sink)
        return name

    def abort(self, names: Sequence[str]) -> None:
        for name in names:
            del self.left[name]

    def turn(self) -> None:
        for name, (tokens, sink) in list(self.left.items()):
            token = tokens.pop(0)
            if not tokens:
                del self.left[name]
            logprobs = [{token: SimpleNamespace(rank=1, logprob=-float(token))}]
            new = SimpleNamespace(token_ids=[token], logprobs=logprobs)
            sink(SimpleNamespace(request_id=name, outputs=[new], finished=not tokens))


def test_responses_end_with_the_end_of_turn_or_at_a_limit() -> None:
    fake = FakeVllm([[5, 6, END], [7], [8, 9]])
    requests = [Request((1, 1), 2, ("a",), 7, 0.5), Request((1,), 1, ("b",))]
    told_of: list[int] = []
    # The shortest prompt is asked for first.
    found = drain(VllmSampling(fake, 9, 1.0), requests, told_of.append)
    assert [[(s.k, s.ids, s.finished) for s in of] for of in found] == [
        [(0, [7], False), (1, [8, 9], False)],
        [(0, [5, 6, END], True)],
    ]
    assert [(k, most, temperature) for _, k, most, temperature in fake.asked] == [(0, 9, 1.0), (0, 7, 0.5), (1, 7, 0.5)]
    assert found[1][0].logprobs == [-5.0, -6.0, -2.0]
    assert sum(told_of) == 3


@pytest.mark.parametrize(("temperature", "expected"), [(0.0, [0.0, 0.0]), (0.5, [])])
def test_logprobs_that_are_not_those_of_the_draws_are_not_given(temperature: float, expected: list[float]) -> None:
    """And the most probable token was certain."""
    fake = FakeVllm([[5, 6]], tells=False)
    ((sample,),) = drain(VllmSampling(fake, 9, temperature), [Request((1,), 1, (0,))])
    assert sample.logprobs == expected


def test_what_is_written_is_seen_and_can_be_cancelled() -> None:
    fake = FakeVllm([[5, 6, 7], [8, 9, END], [8, 8, 8]])
    sampling = VllmSampling(fake, 9, 1.0)
    sampling.submit(Request((1,), 2, (0,)), 4)
    sampling.submit(Request((1,), 1, (0,), num_top=0), 5)
    assert sampling.active == ()
    assert sampling.step() == []
    assert [(s.request, s.k, s.ids) for s in sampling.active] == [(4, 0, [5]), (4, 1, [8]), (5, 0, [8])]
    sampling.cancel(4)
    ended: list[Sample] = []
    while sampling.busy:
        ended += sampling.step()
    assert [(s.request, s.ids) for s in ended] == [(5, [8, 8, 8])]
    assert ended[0].readings == [Reading(8, -8.0)] * 3
    assert not fake.left


def test_what_ended_in_somebody_elses_turn_is_given_at_the_next_step() -> None:
    fake = FakeVllm([[5], [6, 7]])
    sampling = VllmSampling(fake, 9, 1.0)
    sampling.submit(Request((1,), 2, (0,)))
    fake.turn()
    assert [s.ids for s in sampling.step()] == [[5]]
    assert [s.ids for s in sampling.active] == [[6]]
    assert [s.ids for s in sampling.step()] == [[6, 7]]
    assert not sampling.busy


def test_the_most_probable_tokens_by_rank() -> None:
    """The token itself comes with them, and is one of them or not."""
    found = told(t9=(40, -7.0), t5=(2, -1.5), t3=(1, -0.5))
    assert reading_of(9, found, 2) == Reading(9, -7.0, ((3, -0.5), (5, -1.5)))
    assert reading_of(9, found, 0) == Reading(9, -7.0)
    assert reading_of(3, told(t5=(2, -1.5), t3=(1, -0.5)), 2).top == ((3, -0.5), (5, -1.5))


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import a_library_of_its", "vLLM is not whole: there is no module 'a_library_of_its'"),
        ("raise OSError('libcudart.so: cannot open')", "vLLM cannot be used here: libcudart.so: cannot open"),
        ("", "vLLM is installed for processors or GPUs that this machine does not have"),
    ],
)
def test_a_vllm_that_does_not_work_says_so(
    code: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "vllm"
    package.mkdir()
    (package / "__init__.py").write_text(code)
    (package / "platforms.py").write_text("class current_platform: device_type = ''")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("vllm", "vllm.platforms"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with patch.dict(os.environ), pytest.raises(UserError) as error:
        require_vllm()
    assert str(error.value).startswith(says)
    assert "make install-vllm" in str(error.value)
    for name in ("vllm", "vllm.platforms"):
        sys.modules.pop(name, None)
