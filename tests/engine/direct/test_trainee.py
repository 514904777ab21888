"""What a step of direct preference optimisation is expected to do, against what it does."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from accord.algorithms.likelihood import TokenLogprobs
from accord.engine.sizes import Known, Records, Sizes
from accord.models.cost import Dimensions
from accord.models.folders import load_tokenizer
from accord.models.policy import Policy
from accord.plan import make_plan
from accord.recipe import parse_recipe
from accord.steps.registry import STEPS
from accord.text.template import Template
from accord.text.tree import TreeBatch
from accord.types import LabelledResponse, Prompt, Response
from tests.fixtures.preferences import KINDS, pairs, parts
from tests.fixtures.recipes import run_steps

__all__ = ["parts"]

DIMENSIONS = Dimensions(2, 32, 64, 4, 2, 8, 512, context=256)
Parts = dict[str, list[Any]]
SMALL = "learning_rate: 1.0e-3, batch_size: 4, max_tokens: 100"


def done(folder: Path, model: Path, step: str) -> Counter[tuple[str, int]]:
    """Tokens by the kind of pass and the tokens of the batch."""
    seen: Counter[tuple[str, int]] = Counter()
    real = Policy.token_logprobs

    def watch(policy: Policy, batch: TreeBatch, *args: Any, **options: Any) -> TokenLogprobs:
        seen["train" if torch.is_grad_enabled() else "forward", batch.num_tokens] += 1
        return real(policy, batch, *args, **options)

    with patch.object(Policy, "token_logprobs", watch):
        run_steps(folder, model, step)
    return seen


def expected(model: Path, step: str, records: Parts) -> tuple[Counter[tuple[str, int]], Any]:
    text = f"model: {json.dumps(str(model))}\ndata: {{mine: builtin:made-up}}\nsteps:\n{step}"
    planned = make_plan(parse_recipe(text, Path("few.yaml")), STEPS).steps[-1]
    inputs = {
        field: tuple(
            Known(
                link.step.key,
                Records(KINDS[link.part], records[link.part], len(records[link.part])) if link.part else None,
            )
            for link in links
        )
        for field, links in planned.parents.items()
    }
    sizes = Sizes(DIMENSIONS, Template(load_tokenizer(model)), inputs, planned.seed)
    plan = STEPS[planned.kind].work
    assert plan is not None
    work = plan(planned.config, sizes)
    found: Counter[tuple[str, int]] = Counter()
    for phase in work.phases:
        for one in phase.passes:
            found[one.kind, one.tokens] += one.count
    return found, work


@pytest.mark.parametrize(
    "config",
    [
        "data: mine.pairs, validation: mine.held, validate_every: 2, num_epochs: 2",
        "data: [mine.pairs, mine.held], loss: simpo, max_response_tokens: 30",
    ],
)
def test_dpo_does_what_is_expected(parts: Parts, tmp_path: Path, tiny_model: Path, config: str) -> None:
    step = f"  - dpo: {{{config}, {SMALL}}}\n"
    found, work = expected(tiny_model, step, parts)
    assert found == done(tmp_path, tiny_model, step)
    (phase,) = work.phases
    assert phase.updates == (6 if "num_epochs" in config else 4)
    assert phase.kept == (DIMENSIONS.policy_parameters if "validation" in config else 0)


def test_another_reference_is_in_memory_before_the_policy(parts: Parts, tiny_model: Path) -> None:
    step = f"  - dpo: {{data: mine.pairs, {SMALL}}}\n"
    both = step + f"  - dpo: {{name: then, data: mine.pairs, reference: model, lora: {{rank: 4}}, {SMALL}}}\n"
    _, work = expected(tiny_model, both, parts)
    first, second = work.phases
    assert (first.trained, first.frozen) == ((), (DIMENSIONS.policy_parameters,))
    assert second.frozen == (DIMENSIONS.policy_parameters,)
    assert second.trained == (DIMENSIONS.adapter_parameters(4),)
    assert {one.kind for one in first.passes} == {"forward"}
    assert work.loaded == [DIMENSIONS.policy_parameters] * 2


def test_kto_trains_as_much_as_is_expected(parts: Parts, tmp_path: Path, tiny_model: Path) -> None:
    """What is only looked at is other answers by another seed, so all in all as many tokens, about."""
    parts["thumbs"] += [
        LabelledResponse(Prompt(f"t{i}", one.prompt.messages), Response(one.responses[i % 2].text), i % 2 == 0)
        for i, (one, _) in enumerate(pairs(12))
    ]
    step = f"  - kto: {{data: mine.thumbs, validation: mine.held, {SMALL}}}\n"
    found, _ = expected(tiny_model, step, parts)
    seen = done(tmp_path, tiny_model, step)
    tokens = [
        {kind: sum(size * count for (of, size), count in some.items() if of == kind) for kind in ("train", "forward")}
        for some in (found, seen)
    ]
    assert tokens[0]["train"] == tokens[1]["train"]
    assert tokens[0]["forward"] == pytest.approx(tokens[1]["forward"], rel=0.02)


def test_without_anything_to_learn_from_there_is_no_work(parts: Parts, tiny_model: Path) -> None:
    parts["pairs"].clear()
    for step in (f"  - dpo: {{data: mine.pairs, {SMALL}}}\n", f"  - kto: {{data: mine.thumbs, {SMALL}}}\n"):
        assert expected(tiny_model, step, parts)[1].phases == ()
