"""What the policy says of tokens: against transformers' own model, for given texts and for drawn tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from accord.engine import readings as module
from accord.engine.pieces import read_in_pieces
from accord.engine.policy_engine import Request, sample_all
from accord.engine.readings import Reading, Text, read, readings_of
from accord.models.policy import Policy

TEXTS = [(5, 6, 7, 8, 9), (11,), (300, 2, 44), tuple(range(20, 170))]


@pytest.fixture(scope="module")
def policy(tiny_model: Path) -> Policy:
    return Policy.load(tiny_model)


@pytest.fixture(scope="module")
def plain(tiny_model: Path) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(tiny_model)


def distribution(plain: torch.nn.Module, ids: tuple[int, ...]) -> torch.Tensor:
    """[tokens, vocabulary]: row i is of what follows token i."""
    with torch.no_grad():
        return plain(torch.tensor([ids])).logits[0].float().log_softmax(dim=1)


def test_by_hand() -> None:
    logprobs = torch.tensor([[0.25, 0.5, 0.125, 0.125], [0.1, 0.2, 0.3, 0.4]]).log()
    first, second = readings_of(logprobs, [2, 3], [2, 0])
    assert (first.token, [token for token, _ in first.top]) == (2, [1, 0])
    assert [first.logprob, *(x for _, x in first.top)] == pytest.approx(logprobs[0, [2, 1, 0]].tolist())
    assert second == Reading(3, float(logprobs[1, 3]), ())


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_given_texts(policy: Policy, plain: torch.nn.Module, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Together, however few rows of logits are in the memory; the first token has no reading."""
    monkeypatch.setattr(module, "_ROWS", rows)
    asked = [Text(ids, num_top=3, follow=bool(i % 2)) for i, ids in enumerate(TEXTS)]
    for text, found in zip(asked, read(policy, asked), strict=True):
        expected = distribution(plain, text.ids)
        targets = [*text.ids[1:], *([int(expected[-1].argmax())] if text.follow else [])]
        assert [one.token for one in found] == targets
        for row, one in zip(expected, found, strict=False):
            assert one.logprob == pytest.approx(float(row[one.token]), abs=1e-4)
            assert [token for token, _ in one.top] == row.topk(3).indices.tolist()
            assert [x for _, x in one.top] == pytest.approx(row.topk(3).values.tolist(), abs=1e-4)


def test_a_single_token_that_nothing_follows_has_no_reading(policy: Policy) -> None:
    assert read(policy, [Text((5,))]) == [[]]


@pytest.mark.parametrize(("temperature", "top_p"), [(0.0, 1.0), (1.0, 1.0), (0.5, 0.6)])
def test_drawn_tokens_are_read_before_temperature_and_nucleus(
    policy: Policy, plain: torch.nn.Module, temperature: float, top_p: float
) -> None:
    request = Request((5, 6, 7), 3, (1,), temperature=temperature, top_p=top_p, num_top=2)
    others = [Request((8, 9), 2, (2,), temperature=0.5), Request((8, 9, 10), 1, (3,), num_top=0)]
    samples, unread, bare = sample_all(policy, [request, *others], max_response_tokens=6)
    assert [len(one.readings) for one in unread] == [0, 0]
    assert [one.top for one in bare[0].readings] == [()] * len(bare[0].ids)
    for sample in samples:
        expected = distribution(plain, (5, 6, 7, *sample.ids))[2:-1]
        assert [one.token for one in sample.readings] == sample.ids
        for row, one in zip(expected, sample.readings, strict=True):
            assert one.logprob == pytest.approx(float(row[one.token]), abs=1e-4)
            assert [token for token, _ in one.top] == row.topk(2).indices.tolist()


def test_readings_do_not_change_what_is_drawn(policy: Policy) -> None:
    def drawn(**options: int) -> list[tuple[list[int], list[float]]]:
        requests = [Request((5, 6, 7), 4, (1,), **options), Request((8,), 2, (2,))]
        return [(s.ids, s.logprobs) for one in sample_all(policy, requests, max_response_tokens=8) for s in one]

    assert drawn() == drawn(num_top=3)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_nothing_outside_the_nucleus_is_drawn(policy: Policy, plain: torch.nn.Module, temperature: float) -> None:
    """Of the distribution at the temperature; and the logprobs with which tokens are drawn are the nucleus's."""
    narrow, wide = (Request((5, 6, 7), 60, (1,), 1, temperature, top_p) for top_p in (0.7, 1.0))
    samples, others = sample_all(policy, [narrow, wide], max_response_tokens=1)
    row = (distribution(plain, (5, 6, 7))[-1] / temperature).softmax(dim=0)
    order = row.argsort(descending=True).tolist()
    size = next(n for n in range(1, 512) if float(row[order[:n]].sum()) >= 0.7)
    total = float(row[order[:size]].sum())
    assert {sample.ids[0] for sample in samples} <= set(order[:size])
    assert not {sample.ids[0] for sample in others} <= set(order[:size])
    for sample in samples:
        assert sample.logprobs[0] == pytest.approx(float((row[sample.ids[0]] / total).log()), abs=1e-4)


@pytest.mark.parametrize("num_tokens", [1, 7, 64, 1000])
def test_in_pieces_it_is_the_same(policy: Policy, num_tokens: int) -> None:
    for ids, follow in ((TEXTS[0], True), (TEXTS[1], True), (TEXTS[1], False), (TEXTS[3], False), (TEXTS[3], True)):
        text = Text(ids, num_top=2, follow=follow)
        pieces = list(read_in_pieces(policy, text, num_tokens))
        assert len(pieces) == -(-len(ids) // num_tokens)
        found, (expected,) = [one for piece in pieces for one in piece], read(policy, [text])
        assert [one.token for one in found] == [one.token for one in expected]
        assert [one.logprob for one in found] == pytest.approx([one.logprob for one in expected], abs=1e-4)
        assert [[t for t, _ in one.top] for one in found] == [[t for t, _ in one.top] for one in expected]
