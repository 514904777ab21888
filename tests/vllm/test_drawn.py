"""Logprobs of the distribution that was drawn from, which a learner wants of its sampler."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
import torch

from accord.engine.agreement import TOLERANCES, check_agreement
from accord.engine.policy_engine import PolicyEngine, Request, sample_all
from accord.engine.readings import Text, read
from accord.engine.vllm_engine import VllmEngine
from accord.models.policy import Policy
from accord.serve.worker import Failed, Piece, Question, Worker
from accord.text.tree import Branch, Tree, TreeBatch

PROMPT = (5, 6, 7)


@pytest.fixture(scope="module")
def drawn(folder: Path) -> VllmEngine:
    return VllmEngine(folder, told="drawn")


def test_at_a_temperature(drawn: VllmEngine, policy: Policy) -> None:
    for temperature in (0.6, 1.0):
        (samples,) = sample_all(drawn, [Request(PROMPT, 4, (1,))], max_response_tokens=9, temperature=temperature)
        tree = Tree(PROMPT, tuple(Branch(tuple(sample.ids)) for sample in samples))
        with torch.no_grad():
            expected = policy.token_logprobs(TreeBatch.from_trees([tree]), temperature).logprobs
        found = torch.tensor([x for sample in samples for x in sample.logprobs])
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_within_a_nucleus(drawn: VllmEngine, policy: Policy) -> None:
    """The nucleus's tokens share all of the probability."""
    (samples,) = sample_all(drawn, [Request(PROMPT, 20, (1,), 1, 1.0, 0.1)], max_response_tokens=1)
    (reading,) = read(policy, [Text(PROMPT, 512, follow=True)])[0][-1:]
    logprobs = torch.tensor([logprob for _, logprob in reading.top])
    inside = int((logprobs.exp().cumsum(0) < 0.1).sum()) + 1
    known = dict(zip((token for token, _ in reading.top), logprobs[:inside].log_softmax(0).tolist(), strict=False))
    for sample in samples:
        assert sample.logprobs == pytest.approx([known[sample.ids[0]]], abs=1e-3)


def test_the_probe_reads_the_models_own(drawn: VllmEngine, policy: Policy) -> None:
    check_agreement(drawn, PolicyEngine(policy), tolerance=TOLERANCES["float32"])


def test_what_fails_is_told_and_others_can_come(engine: VllmEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(engine)

    def answer(question: Question) -> Iterator[Any]:
        heard: SimpleQueue[Any] = SimpleQueue()
        worker.ask(question, heard.put)
        return iter(lambda: heard.get(timeout=60), None)

    asked = Question(PROMPT, 2, 8, 1.0, 1)
    with monkeypatch.context() as patch:
        patch.setattr(
            engine._llm.llm_engine, "step", lambda: (_ for _ in ()).throw(MemoryError("none left")), raising=True
        )
        failed = next(answer(asked))
        assert isinstance(failed, Failed)
        assert "none left" in str(failed)
    ends: list[Piece] = []
    for piece in answer(asked):
        assert isinstance(piece, Piece)
        ends += [piece] if piece.finish else []
        if len(ends) == 2:
            break
    worker.close()
    assert [piece.num_tokens for piece in ends] == [8, 8]
