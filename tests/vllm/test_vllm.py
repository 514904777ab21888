"""vLLM beside the sampler in torch, on the same random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from accord.engine.agreement import TOLERANCES, check_agreement
from accord.engine.policy_engine import PolicyEngine, Request, Sample, sample_all
from accord.engine.readings import Text, read
from accord.engine.rollout import roll_out
from accord.engine.vllm_engine import VllmEngine
from accord.errors import UserError
from accord.models.policy import Policy
from accord.text.tree import Branch, Tree, TreeBatch
from accord.types import Message, Prompt
from tests.fixtures.tiny_model import make_model

PROMPTS = [(5, 6, 7), (8, 9), tuple(range(5, 45)), (11,)]
REQUESTS = [Request(ids, 3, (1, "test", i)) for i, ids in enumerate(PROMPTS)]
CLOSE = 1e-3  # nats, in fp32


def own_logprobs(policy: Policy, prompt: tuple[int, ...], samples: list[Sample]) -> torch.Tensor:
    tree = Tree(prompt, tuple(Branch(tuple(sample.ids)) for sample in samples))
    with torch.no_grad():
        return policy.token_logprobs(TreeBatch.from_trees([tree])).logprobs


def test_logprobs_of_what_was_sampled_are_the_policys(engine: VllmEngine, policy: Policy) -> None:
    samples = sample_all(engine, REQUESTS, max_response_tokens=9)
    assert [[s.k for s in of_request] for of_request in samples] == [[0, 1, 2]] * 4
    for ids, of_request in zip(PROMPTS, samples, strict=True):
        found = torch.tensor([x for s in of_request for x in s.logprobs])
        torch.testing.assert_close(found, own_logprobs(policy, ids, of_request), atol=CLOSE, rtol=0)


def test_greedy_text_leaves_torchs_only_where_two_tokens_are_equally_probable(
    engine: VllmEngine, policy: Policy
) -> None:
    ours = sample_all(policy, REQUESTS, max_response_tokens=24, temperature=0)
    theirs = sample_all(engine, REQUESTS, max_response_tokens=24, temperature=0)
    for prompt, one, other in zip(PROMPTS, ours, theirs, strict=True):
        own, found = one[0].ids, other[0].ids
        assert [s.ids for s in other] == [found] * 3
        assert other[0].logprobs == [0.0] * len(found)
        at = next((i for i, (a, b) in enumerate(zip(own, found, strict=False)) if a != b), None)
        if at is None:
            assert own == found
        else:
            (reading,) = read(policy, [Text((*prompt, *own[:at]), 2, follow=True)])[0][-1:]
            assert reading.top[0][1] - reading.top[1][1] < CLOSE


def test_draws_depend_on_the_key_alone(engine: VllmEngine) -> None:
    together = sample_all(engine, REQUESTS, max_response_tokens=9)
    alone = [sample_all(engine, [request], max_response_tokens=9)[0] for request in REQUESTS]
    assert [[s.ids for s in r] for r in together] == [[s.ids for s in r] for r in alone]
    other = sample_all(engine, [Request(PROMPTS[0], 3, (2, "test", 0))], max_response_tokens=9)
    assert [s.ids for s in other[0]] != [s.ids for s in together[0]]
    assert len({tuple(s.ids) for s in together[0]}) == 3


def test_draws_have_the_policys_distribution(engine: VllmEngine, policy: Policy) -> None:
    """Of 2,000 first tokens at a temperature, the most probable ten come as often as the policy says."""
    request = Request(PROMPTS[0], 2000, (7,), 1, 0.5)
    (samples,) = sample_all(engine, [request], max_response_tokens=1)
    (reading,) = read(policy, [Text(PROMPTS[0], 512, follow=True)])[0][-1:]
    logprobs = torch.tensor([logprob for _, logprob in reading.top]).div(0.5).log_softmax(0)
    for (token, _), logprob in list(zip(reading.top, logprobs.tolist(), strict=True))[:10]:
        probability = torch.tensor(logprob).exp().item()
        found = sum(s.ids == [token] for s in samples) / 2000
        assert abs(found - probability) < 5 * (probability * (1 - probability) / 2000) ** 0.5
    assert not samples[0].logprobs  # at this temperature they are not those of the draws


def test_a_nucleus_is_not_left(engine: VllmEngine, policy: Policy) -> None:
    (samples,) = sample_all(engine, [Request(PROMPTS[0], 200, (7,), 1, 1.0, 0.1)], max_response_tokens=1)
    (reading,) = read(policy, [Text(PROMPTS[0], 512, follow=True)])[0][-1:]
    probabilities = torch.tensor([logprob for _, logprob in reading.top]).exp()
    inside = int((probabilities.cumsum(0) < 0.1).sum()) + 1
    assert {s.ids[0] for s in samples} <= {token for token, _ in reading.top[:inside]}


def test_a_response_ends_at_the_end_of_turn_or_at_the_limit(engine: VllmEngine) -> None:
    samples = sample_all(engine, [Request((5,), 400, (0,))], max_response_tokens=6)[0]
    end = engine.template.end_id
    for sample in samples:
        assert sample.finished == (sample.ids[-1] == end)
        assert end not in sample.ids[:-1]
        assert sample.finished or len(sample.ids) == 6
    assert {sample.finished for sample in samples} == {True, False}


def test_tokens_are_read_as_torch_reads_them(engine: VllmEngine, policy: Policy) -> None:
    """Most probable ones named, what follows too, and a text that fills the context."""
    texts = [Text(PROMPTS[2], 3), Text((7,), 2, follow=True), Text((7,)), Text(tuple(5 + i % 300 for i in range(256)))]
    texts.append(Text(PROMPTS[0], 0, follow=True))
    for own, found in zip(read(policy, texts), engine.read(texts), strict=True):
        assert [one.token for one in own] == [one.token for one in found]
        for one, other in zip(own, found, strict=True):
            assert other.logprob == pytest.approx(one.logprob, abs=CLOSE)
            assert [token for token, _ in other.top] == [token for token, _ in one.top]
            assert [x for _, x in other.top] == pytest.approx([x for _, x in one.top], abs=CLOSE)


def test_what_is_drawn_is_read(engine: VllmEngine, policy: Policy) -> None:
    """At any temperature, from the policy's own distribution."""
    (samples,) = sample_all(engine, [Request(PROMPTS[0], 2, (3,), 5, 0.7, 0.9, num_top=2)], max_response_tokens=5)
    for sample in samples:
        assert [one.token for one in sample.readings] == sample.ids
        found = torch.tensor([one.logprob for one in sample.readings])
        torch.testing.assert_close(found, own_logprobs(policy, PROMPTS[0], [sample]), atol=CLOSE, rtol=0)
        assert all(len(one.top) == 2 for one in sample.readings)


def test_prompts_that_do_not_fit_into_one_turn_wait_whole(engine: VllmEngine, policy: Policy) -> None:
    """On a processor a response with a seed fails once its prompt is read in parts."""
    prompts = [tuple(5 + (i * 31 + j) % 500 for j in range(250)) for i in range(12)]
    requests = [Request(ids, 1, (9, i)) for i, ids in enumerate(prompts)]
    found = sample_all(engine, requests, max_response_tokens=4)
    for ids, samples in zip(prompts, found, strict=True):
        logprobs = torch.tensor(samples[0].logprobs)
        torch.testing.assert_close(logprobs, own_logprobs(policy, ids, samples), atol=CLOSE, rtol=0)


def test_reading_keeps_what_is_being_written(engine: VllmEngine) -> None:
    sampling = engine.sampling(num_slots=8, max_response_tokens=9)
    sampling.submit(REQUESTS[0])
    sampling.step()
    engine.read([Text(PROMPTS[2])])
    ended = []
    while sampling.busy:
        ended += sampling.step()
    expected = sample_all(engine, [REQUESTS[0]], max_response_tokens=9)[0]
    assert sorted((s.k, s.ids) for s in ended) == [(s.k, s.ids) for s in expected]


def test_a_cancelled_request_ends_and_leaves_the_others_whole(engine: VllmEngine) -> None:
    sampling = engine.sampling(num_slots=8, max_response_tokens=9)
    for number, request in enumerate(REQUESTS[:2]):
        sampling.submit(request, number)
    sampling.step()
    sampling.cancel(0)
    ended = []
    while sampling.busy:
        ended += sampling.step()
    expected = sample_all(engine, [REQUESTS[1]], max_response_tokens=9)[0]
    assert sorted((s.request, s.k, s.ids) for s in ended) == [(1, s.k, s.ids) for s in expected]


def test_a_rollout(engine: VllmEngine, policy: Policy) -> None:
    prompts = [Prompt(f"p{i}", (Message("user", text),)) for i, text in enumerate(("one", "two"))]
    made = roll_out(engine, prompts, num_samples=2, max_response_tokens=8, temperature=1.0, key=(1, "x"))
    for tree, logprobs in zip(made.trees, made.sampler_logprobs, strict=True):
        with torch.no_grad():
            expected = policy.token_logprobs(TreeBatch.from_trees([tree])).logprobs
        found = torch.tensor([x for of in logprobs for x in of])
        torch.testing.assert_close(found, expected, atol=CLOSE, rtol=0)


def test_pushed_weights_are_seen_and_held_against_the_learners(
    engine: VllmEngine, policy: Policy, tmp_path: Path
) -> None:
    tolerance = TOLERANCES["float32"]
    check_agreement(engine, PolicyEngine(policy), tolerance=tolerance)
    other = Policy.load(make_model(tmp_path / "other", seed=5, head_size=32))
    with pytest.raises(UserError, match="not the same policy"):
        check_agreement(engine, PolicyEngine(other), tolerance=tolerance)
    try:
        engine.push(other.module.named_parameters())
        check_agreement(engine, PolicyEngine(other), tolerance=tolerance)
        (samples,) = sample_all(engine, REQUESTS[:1], max_response_tokens=9)
        found = torch.tensor([x for s in samples for x in s.logprobs])
        torch.testing.assert_close(found, own_logprobs(other, PROMPTS[0], samples), atol=CLOSE, rtol=0)
    finally:
        engine.push(policy.module.named_parameters())
    check_agreement(engine, PolicyEngine(policy), tolerance=tolerance)


def test_weights_that_were_pushed_in_part_are_refused(engine: VllmEngine, policy: Policy, tmp_path: Path) -> None:
    other = Policy.load(make_model(tmp_path / "other", seed=5, head_size=32))
    part = [(name, weight) for name, weight in other.module.named_parameters() if "layers.1." not in name]
    try:
        engine.push(part)
        with pytest.raises(UserError, match="not the same policy"):
            check_agreement(engine, PolicyEngine(other), tolerance=TOLERANCES["float32"])
    finally:
        engine.push(policy.module.named_parameters())
