"""What a step is expected to do, against what the engine does."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from accord.engine import blocks
from accord.engine import sampler as sampler_module
from accord.engine.cache import SlotCache
from accord.engine.config import TrainingConfig
from accord.engine.sampler import Request, Sample, Sampler
from accord.engine.sizes import Known, Records, Sizes
from accord.engine.workload import imitation, rollout_trees, sampling, scoring, training
from accord.models.cost import Dimensions
from accord.models.folders import load_tokenizer
from accord.models.policy import Policy
from accord.text.batching import micro_batches, shuffled_batches
from accord.text.prompts import PromptBatch
from accord.text.template import Template
from accord.text.tree import Branch, Tree
from accord.types import Comparison, Judgement, Message, Prompt, Response

DIMENSIONS = Dimensions(2, 32, 64, 4, 2, 8, 512)


def tree(prompt: int, *lengths: int) -> Tree:
    return Tree(tuple(range(3, 3 + prompt)), tuple(Branch((5,) * length) for length in lengths))


@pytest.fixture(scope="module")
def template(tiny_model: Path) -> Template:
    return Template(load_tokenizer(tiny_model))


@pytest.fixture
def sizes(template: Template) -> Sizes:
    return Sizes(DIMENSIONS, template, {"start": (Known("k"),)})


@pytest.mark.parametrize("cost", [100, 3000, 10**6])
@pytest.mark.parametrize("num_slots", [4, 6, 64])
def test_slots_are_played_as_the_sampler_fills_them(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, num_slots: int, cost: int
):
    """A sampler whose responses have given lengths: the same passes over the same shapes, and as large a cache."""
    monkeypatch.setattr(blocks, "BLOCK_COST", cost)
    policy = Policy.load(tiny_model)
    trees = [tree(3, 4, 1), tree(90, 2, 7), tree(50, 3, 3), tree(28, 6, 1), tree(2, 8, 8), tree(70, 1, 1)]
    order = sorted(range(len(trees)), key=lambda i: (len(trees[i].prompt_ids), i))
    ends = {(at, k): len(b.ids) for at, i in enumerate(order) for k, b in enumerate(trees[i].branches)}
    seen: Counter[tuple[str, int, float, int]] = Counter()
    real = sampler_module.hidden_states
    most, admitted = [0], [0]
    begin_prefill = SlotCache.begin_prefill

    def admit(self: SlotCache, batch: PromptBatch, prompt_of_row: list[int]) -> None:
        admitted[0] = len(prompt_of_row)
        begin_prefill(self, batch, prompt_of_row)

    def read(blocks: list[tuple[int, Any]]) -> int:
        return sum(num * one.num_places + one.num_prompts * one.prompt_places for num, one in blocks)

    def draw_until_the_end(self: Sampler, hidden: torch.Tensor, slots: range) -> None:
        for slot in slots:
            sample: Sample = self._active[slot]
            sample.ids.append(5)
            sample.logprobs.append(0.0)
            sample.finished = len(sample.ids) == ends[sample.request, sample.k]

    def watch(backbone: object, ids: torch.Tensor, positions: torch.Tensor, layout: object) -> torch.Tensor:
        rows, width = ids.shape
        cache: Any = layout
        made = [(one.own.num_rows, one) for one in cache._blocks]
        most[0] = max(most[0], read(made))
        if cache._prompts is None:
            seen["decode", rows, read([(one.num_rows, one) for one in cache._blocks]) / rows, rows] += 1
        else:
            seen_places = sum(bias.numel() for bias in cache._prompts._biases)
            seen["prefill", width, seen_places / width, admitted[0]] += 1
        return real(backbone, ids, positions, layout)  # type: ignore[arg-type]

    monkeypatch.setattr(Sampler, "_draw", draw_until_the_end)
    monkeypatch.setattr(SlotCache, "begin_prefill", admit)
    monkeypatch.setattr(sampler_module, "hidden_states", watch)
    sampler = Sampler(policy, num_slots=num_slots, max_response_tokens=8)
    for at, i in enumerate(order):
        sampler.submit(Request(trees[i].prompt_ids, 2, (i,)), at)
    while sampler.busy:
        sampler.step()

    found, places = sampling(trees, DIMENSIONS, num_slots=num_slots)
    assert Counter((p.kind, p.tokens, p.width, p.head_rows) for p in found) == seen
    assert sum(p.head_rows * p.count for p in found) == sum(len(b.ids) for t in trees for b in t.branches)
    assert places == most[0]


def test_many_responses_are_scaled():
    few, _ = sampling([tree(3, 4, 4)] * 512, DIMENSIONS)
    many, _ = sampling([tree(3, 4, 4)] * 2048, DIMENSIONS)
    assert sum(p.tokens * p.count for p in many) == pytest.approx(4 * sum(p.tokens * p.count for p in few))


def test_training_counts_epochs_and_optimizer_steps():
    trees = [tree(2, 3)] * 10
    config = TrainingConfig(batch_size=4, num_epochs=1.5, max_tokens=1000)
    batches = [m.batch for m in micro_batches(trees[:4], 1000)]
    found, updates = training(lambda units: batches, 10, 100, 4, config, head=True, seed=0)
    assert updates == 25 + 13  # 100 examples, then 50
    # 3 batches stand for the sample of 10, each for 100 * 1.5 / 10 of them
    assert [p.count for p in found] == [15.0] * 3
    assert {(p.kind, p.tokens, p.width, p.head_rows) for p in found} == {("train", 4 * 5, 5, 12)}


def test_imitation_does_what_the_step_does(sizes: Sizes):
    """5 examples a step of one tree each: their prompts are equal, so a step is one tree with five branches."""
    config = TrainingConfig(batch_size=5, num_epochs=2)
    phase, trained = imitation(sizes, config, [tree(4, 3)] * 10, 3.0)
    assert trained == DIMENSIONS.policy_parameters
    assert (phase.trained, phase.frozen, phase.updates) == ((trained,), (), 12)
    assert {(p.tokens, p.width, p.head_rows) for p in phase.passes} == {(19, 19, 15)}
    assert sum(p.count for p in phase.passes) == 12


def test_imitation_with_adapters_and_validation(sizes: Sizes):
    pytest.importorskip("peft")
    config = TrainingConfig(batch_size=5, num_epochs=2, lora={"rank": 2})
    phase, trained = imitation(sizes, config, [tree(4, 3)] * 10, 1.0, held=[tree(4, 2)], held_scale=7.0, kept=True)
    assert trained == DIMENSIONS.adapter_parameters(2)
    assert (phase.trained, phase.frozen, phase.kept) == ((trained,), (DIMENSIONS.policy_parameters,), trained)
    assert {p.share for p in phase.passes if p.kind == "train"} == {0.75}
    (validation,) = [p for p in phase.passes if p.kind == "forward"]
    assert validation.count == 7 * 2  # once an epoch


def test_the_longest_need_memory_and_take_no_time(sizes: Sizes):
    phase, _ = imitation(sizes, TrainingConfig(), [tree(4, 3)], 1.0, longest=[tree(40, 300)])
    assert (phase.passes[-1].width, phase.passes[-1].count) == ((40**2 + 150 * 190 + 150 * 340) / 340, 0)


def test_rollout_trees(template: Template):
    prompt = Prompt("a", (Message("user", "Write one line."),), prefill="The acting")
    own, whole = rollout_trees(template, [prompt], 3, [2, 5])
    prefill = len(own[0].prompt_ids) - len(whole[0].prompt_ids)
    assert own[0].prompt_ids == template.prompt_ids(prompt)
    assert prefill == len(template._encode("The acting"))
    assert sorted(len(b.ids) for b in own[0].branches)[:1] == [2]
    assert [len(b.ids) + prefill for b in own[0].branches] == [len(b.ids) for b in whole[0].branches]


def test_scoring_by_nothing_is_nothing(template: Template):
    assert scoring(template, [tree(3, 4)], 0) == []
    (one,) = scoring(template, [tree(3, 4), tree(3, 4)], 2)
    assert (one.kind, one.tokens, one.width, one.head_rows, one.count) == ("forward", 2 * 7, 7, 0, 2)
    (parts,) = scoring(template, [tree(8, *[100] * 8)], 1)
    assert (parts.tokens, parts.width) == (808, (8**2 + 8 * 100 * 108) / 808)


def test_asking_smaller_models_takes_their_share():
    whole = Sizes(DIMENSIONS, None, {})  # type: ignore[arg-type]
    half = replace(DIMENSIONS, layers=1).scalar_parameters
    assert whole.passes([DIMENSIONS.scalar_parameters, half, 100]) == pytest.approx(1 + 0.5 + 1, abs=0.01)


def test_records_seen_as_another_kind():
    prompt = Prompt("a", (Message("user", "x"),))
    comparison = Comparison("a", prompt, (Response("good"), Response("bad")))
    judged = (comparison, (Judgement("a", "me", (1.0, 0.0)),))
    tie = (comparison, (Judgement("a", "me", (1.0, 1.0)),))
    records = Records("comparisons", [judged, tie], 100, [tie])
    seen = records.seen_as("demonstrations")
    assert (len(seen.sample), seen.total, list(seen.longest)) == (1, 50, [])  # a tie has no best response
    assert records.first(1).total == 1
    assert records.scale == 50


def test_responses_are_cut_at_the_cap(template: Template):
    known = Sizes(
        DIMENSIONS, template, {"start": (Known(lengths=(3, 90)),), "policies": (Known(), Known(lengths=(4,)))}
    )
    assert known.responses("start", 20) == (3, 20)
    assert known.responses("policies", 20) == (20,)  # nothing is known: as long as allowed
    assert known.responses("policies", 20, 1) == (4,)


def test_of_complete_data_the_batches_are_the_real_ones(sizes: Sizes):
    config = TrainingConfig(batch_size=2, num_epochs=1.5)
    asked: list[tuple[int, ...]] = []
    _, updates = training(lambda units: asked.append(units) or [], 5, 5, 2, config, head=True, seed=7)
    assert asked == list(shuffled_batches(5, 2, 1.5, 7))
    assert updates == len(asked)


def test_a_field_is_known_when_all_its_parts_are() -> None:
    text = Records("texts", [], 0, complete=True)
    known, part, unknown = Known("a", text), Known("b", Records("texts", [], 0)), Known("c")
    for inputs, complete in (([known, known], True), ([known, part], False), ([known, unknown], False), ([], False)):
        sizes = Sizes(DIMENSIONS, None, {"data": tuple(inputs)})  # type: ignore[arg-type]
        assert sizes.complete("data") is complete
        assert sizes.records("data", "texts").complete is complete
