from __future__ import annotations

from pathlib import Path

import pytest
import torch

from accord.engine import blocks
from accord.engine.group import current
from accord.engine.policy_engine import sample_all
from accord.engine.sampler import Request, Sample, Sampler
from accord.models.policy import Policy
from accord.text.tree import Branch, Tree, TreeBatch
from tests.engine.test_group import by_two

PROMPTS = [(5, 6, 7), (8, 9), (5, 6, 7, 8, 9, 10), (11,)]
REQUESTS = [Request(ids, 3, (1, "test", i)) for i, ids in enumerate(PROMPTS)]


@pytest.fixture(scope="module")
def policy(tiny_model: Path) -> Policy:
    return Policy.load(tiny_model)


@pytest.mark.parametrize("num_slots", [3, 5, 64])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_logprobs_of_what_was_sampled_are_the_policys(policy: Policy, num_slots: int, temperature: float) -> None:
    """Through slots that are filled, left, compacted and filled again, rows stay what a plain forward pass gives."""
    samples = sample_all(policy, REQUESTS, max_response_tokens=9, temperature=temperature, num_slots=num_slots)
    assert [[s.k for s in of_request] for of_request in samples] == [[0, 1, 2]] * 4
    for ids, of_request in zip(PROMPTS, samples, strict=True):
        tree = Tree(ids, tuple(Branch(tuple(s.ids)) for s in of_request))
        with torch.no_grad():
            expected = policy.token_logprobs(TreeBatch.from_trees([tree]), temperature).logprobs
        torch.testing.assert_close(
            torch.tensor([x for s in of_request for x in s.logprobs]), expected, atol=1e-4, rtol=0
        )


def test_two_processes_draw_what_one_does_and_count_all(tiny_model: Path) -> None:
    policies = [Policy.load(tiny_model) for _ in range(2)]  # transformers does not open two at a time

    def drawn() -> tuple[list[list[list[int]]], int]:
        counted: list[int] = []
        own = policies[current().rank]
        samples = sample_all(own, REQUESTS, max_response_tokens=5, advance=counted.append)
        return [[sample.ids for sample in of_request] for of_request in samples], sum(counted)

    assert by_two(drawn) == [drawn()] * 2
    assert drawn()[1] == 12


def test_rows_that_end_at_their_first_token_leave_the_others_whole(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right after the prefill the last rows move into the places of those that ended, keys and values with them."""
    end = dict.fromkeys((0, 2, 3), policy.template.end_id)
    real_draw = Sampler._draw

    def some_end(self: Sampler, hidden: torch.Tensor, slots: range) -> None:
        real_draw(self, hidden, slots)
        for slot, token in end.items():
            if slots.start == 0 and slot in slots and len(self._active[slot].ids) == 1:
                self._active[slot].ids[0], self._active[slot].finished = token, True

    monkeypatch.setattr(Sampler, "_draw", some_end)
    samples = sample_all(policy, REQUESTS, max_response_tokens=5, num_slots=64)
    end.clear()
    checked = 0
    for ids, of_request in zip([PROMPTS[i] for i in (0, 1, 2, 3)], samples, strict=True):
        for sample in of_request:
            if len(sample.ids) > 1:
                with torch.no_grad():
                    tree = Tree(ids, (Branch(tuple(sample.ids)),))
                    expected = policy.token_logprobs(TreeBatch.from_trees([tree])).logprobs
                torch.testing.assert_close(torch.tensor(sample.logprobs), expected, atol=1e-4, rtol=0)
                checked += 1
    assert checked >= 6


def test_draws_depend_on_the_key_alone(policy: Policy) -> None:
    """Not on the slots, the other requests or their order (fp32: the probabilities agree to rounding)."""
    together = sample_all(policy, REQUESTS, max_response_tokens=9, num_slots=64)
    alone = [sample_all(policy, [request], max_response_tokens=9, num_slots=3)[0] for request in REQUESTS]
    assert [[s.ids for s in r] for r in together] == [[s.ids for s in r] for r in alone]
    other = sample_all(policy, [Request(PROMPTS[0], 3, (2, "test", 0))], max_response_tokens=9)
    assert [s.ids for s in other[0]] != [s.ids for s in together[0]]
    assert len({tuple(s.ids) for s in together[0]}) == 3


def test_a_response_ends_at_the_end_of_turn_or_at_the_limit(policy: Policy) -> None:
    samples = [s for r in sample_all(policy, [Request((5,), 200, (0,))], max_response_tokens=6) for s in r]
    end = policy.template.end_id
    for sample in samples:
        assert sample.finished == (sample.ids[-1] == end)
        assert end not in sample.ids[:-1]
        assert sample.finished or len(sample.ids) == 6
    assert {sample.finished for sample in samples} == {True, False}


def test_temperature_zero_takes_the_most_probable(policy: Policy) -> None:
    (samples,) = sample_all(policy, [Request(PROMPTS[0], 2, (0,))], max_response_tokens=5, temperature=0)
    assert samples[0].ids == samples[1].ids
    ids = list(PROMPTS[0])
    for token in samples[0].ids:
        tree = Tree(tuple(ids), (Branch((1,)),))
        with torch.no_grad():
            batch = TreeBatch.from_trees([tree])
            from accord.models.policy import tree_hidden_states

            best = (tree_hidden_states(policy.backbone, batch)[batch.scoring_rows] @ policy.head.T).argmax()
        assert token == int(best)
        ids.append(token)


def test_requests_can_be_submitted_while_others_run(policy: Policy) -> None:
    sampler = Sampler(policy, num_slots=4, max_response_tokens=9)
    sampler.submit(REQUESTS[0])
    ended = sampler.step()
    sampler.submit(REQUESTS[1], 1)
    while sampler.busy:
        ended += sampler.step()
    expected = sample_all(policy, REQUESTS[:2], max_response_tokens=9)
    assert sorted((s.k, s.ids) for s in ended if s.request == 1) == [(s.k, s.ids) for s in expected[1]]


def test_requests_have_limits_and_temperatures_of_their_own(policy: Policy) -> None:
    """And draw what they draw alone, in the same step as others."""
    some = [
        Request(PROMPTS[0], 2, (1,), 3),
        Request(PROMPTS[1], 1, (2,), temperature=0),
        Request(PROMPTS[2], 2, (3,), 12, 0.5),
    ]
    together = sample_all(policy, some, max_response_tokens=7)
    alone = [sample_all(policy, [one], max_response_tokens=7)[0] for one in some]
    assert [[s.ids for s in r] for r in together] == [[s.ids for s in r] for r in alone]
    assert [max(len(s.ids) for s in r) for r in together] == [3, 7, 12]
    plain = sample_all(policy, [Request(PROMPTS[2], 2, (3,))], max_response_tokens=12, temperature=0.5)
    assert [s.ids for s in together[2]] == [s.ids for s in plain[0]]


def test_a_cancelled_request_ends_and_leaves_the_others_whole(policy: Policy) -> None:
    sampler = Sampler(policy, num_slots=6, max_response_tokens=9)
    for number, request in enumerate(REQUESTS[:3]):
        sampler.submit(request, number)
    ended = sampler.step()
    sampler.cancel(0)  # is being written
    sampler.cancel(2)  # waits
    while sampler.busy:
        ended += sampler.step()
    expected = sample_all(policy, [REQUESTS[1]], max_response_tokens=9)[0]
    assert sorted((s.k, s.ids) for s in ended if s.request == 1) == [(s.k, s.ids) for s in expected]
    assert all(len(s.ids) <= 3 for s in ended if s.request == 0)
    assert not [s for s in ended if s.request == 2]


def test_prompts_are_read_in_parts_while_others_are_written(policy: Policy) -> None:
    """The shortest first, at most four tokens a step; who comes meanwhile is read when all have been."""
    sampler = Sampler(policy, num_slots=16, max_response_tokens=9, max_read_tokens=4)
    for number, request in enumerate(REQUESTS):  # of 3, 2, 6 and 1 tokens
        sampler.submit(request, number)
    ended, begun = sampler.step(), []
    sampler.submit(Request((7,), 1, (1, "late")), 4)
    while sampler.busy:
        begun.append(sorted({s.request for s in (*sampler.active, *ended)}))
        ended += sampler.step()
    assert begun[:5] == [[1, 3], [0, 1, 3], [0, 1, 3], [0, 1, 2, 3], [0, 1, 2, 3, 4]]
    expected = sample_all(policy, REQUESTS, max_response_tokens=9)
    found = [sorted((s.k, s.ids) for s in ended if s.request == number) for number in range(len(REQUESTS))]
    assert found == [[(s.k, s.ids) for s in of_request] for of_request in expected]


def test_a_request_that_is_cancelled_before_its_prompt_is_read_never_begins(policy: Policy) -> None:
    sampler = Sampler(policy, num_slots=16, max_response_tokens=9, max_read_tokens=1)
    for number, request in enumerate(REQUESTS):
        sampler.submit(request, number)
    ended = sampler.step()
    sampler.cancel(2)  # the longest, for which slots are kept
    while sampler.busy:
        ended += sampler.step()
    assert sorted({s.request for s in ended}) == [0, 1, 3]


@pytest.mark.parametrize("cost", [0, 10**9])
@pytest.mark.parametrize("num_samples", [1, 3])
def test_a_long_prompt_is_read_in_pieces_and_gives_the_same(
    policy: Policy, monkeypatch: pytest.MonkeyPatch, num_samples: int, cost: int
) -> None:
    """Its samples share its places, or each has its own; others are written between two pieces."""
    monkeypatch.setattr(blocks, "BLOCK_COST", cost)
    requests = [Request((5, 6), 2, (1, "short")), Request(tuple(range(3, 103)), num_samples, (1, "long"), num_top=2)]
    expected = [sample_all(policy, [request], max_response_tokens=9)[0] for request in requests]
    sampler = Sampler(policy, num_slots=8, max_response_tokens=9, max_read_tokens=16)
    for number, request in enumerate(requests):
        sampler.submit(request, number)
    ended, before = list[Sample](), 0
    while sampler.busy:
        ended += sampler.step()
        before += not any(s.request for s in (*sampler.active, *ended))
    assert before == 7, "a step for the short one, and six of seven pieces of the long one"
    for number, of_request in enumerate(expected):
        found = sorted((s for s in ended if s.request == number), key=lambda s: s.k)
        assert [s.ids for s in found] == [s.ids for s in of_request]
        for one, other in zip(found, of_request, strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
            assert [r.top[0][0] for r in one.readings] == [r.top[0][0] for r in other.readings]


def test_a_prompt_of_which_a_piece_is_read_can_be_cancelled(policy: Policy) -> None:
    """And the next one is read from its beginning."""
    sampler = Sampler(policy, num_slots=8, max_response_tokens=5, max_read_tokens=8)
    requests = [Request(tuple(range(3, 3 + n)), 1, (1, n)) for n in (20, 21)]
    for number, request in enumerate(requests):
        sampler.submit(request, number)
    ended = sampler.step()
    sampler.cancel(0)
    while sampler.busy:
        ended += sampler.step()
    expected = sample_all(policy, [requests[1]], max_response_tokens=5)[0]
    assert [(s.request, s.ids) for s in ended] == [(1, s.ids) for s in expected]
