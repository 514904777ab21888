"""The estimate of PPO: what each setting adds to the work."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from pathlib import Path

import pytest

from accord.data import catalog, film_reviews
from accord.engine.workload import Work
from accord.estimate.rows import Estimator
from accord.plan import make_plan
from accord.recipe import parse_recipe
from accord.steps.registry import STEPS
from accord.store.artifacts import Store
from tests.fixtures.engines import in_place_of_vllm
from tests.fixtures.film_reviews import make_ratings_files
from tests.fixtures.made_up_data import made_up  # noqa: F401
from tests.fixtures.tiny_run import SIZES

ESTIMATED = """\
model: {model}
data: {{reviews: builtin:film-reviews}}
steps:
  - reward: {{name: proxy, data: reviews.proxy}}
  - ppo: {{prompts: reviews.prompts, reward: proxy, max_response_tokens: 8, num_iterations: 3, {settings}}}
"""


def works(model: Path, folder: Path, settings: str) -> Work:
    text = ESTIMATED.format(model=model, settings=settings)
    plan = make_plan(parse_recipe(text, Path("r.yaml")), STEPS)
    return Estimator(plan, STEPS, Store(folder)).works["ppo"]


def test_the_estimate_counts_what_the_settings_ask_for(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens that go through models: of a plain run, policy and value model each learn from all."""
    prepare = partial(film_reviews.prepare, read=partial(make_ratings_files, 200), sizes=SIZES)
    data = dataclasses.replace(catalog.BUILTIN["film-reviews"], prepare=prepare)
    monkeypatch.setattr(catalog, "BUILTIN", {"film-reviews": data})
    plain = works(tiny_model, tmp_path, "num_epochs: 2")
    (phase,) = plain.phases
    policy, value = phase.trained
    learned = plain.tokens("train") / 4  # two models, two epochs

    shared = works(tiny_model, tmp_path, "num_epochs: 2, value_model: shared")
    assert shared.tokens("train") == pytest.approx(2 * learned)
    assert shared.tokens("forward") == plain.tokens("forward")
    assert (list(shared.phases[0].trained), shared.checkpointed) == ([policy], policy)
    assert len(shared.loaded) == len(plain.loaded) - 1

    warm = works(tiny_model, tmp_path, "num_epochs: 2, value_warmup: 1")  # one of three is the value model's alone
    assert warm.tokens("train") == pytest.approx((2 + 2 * 2 / 3) * learned)
    assert warm.tokens("decode") == pytest.approx(plain.tokens("decode"))
    assert warm.tokens("forward") == pytest.approx(plain.tokens("forward"))

    averaged = works(tiny_model, tmp_path, "num_epochs: 2, ema: 0.9")
    assert (averaged.phases[0].kept, plain.phases[0].kept) == (policy, 0)
    assert averaged.checkpointed == plain.checkpointed + policy // 3 == policy + value + policy // 3

    beside = works(tiny_model, tmp_path, "num_epochs: 2, ptx_data: reviews.sft, ptx_coef: 1.0")
    twice = works(tiny_model, tmp_path, "num_epochs: 2, ptx_data: reviews.sft, ptx_coef: 1.0, ptx_examples: 3")
    extra = beside.tokens("train") - plain.tokens("train")
    assert extra > 0
    assert twice.tokens("train") - plain.tokens("train") > 2 * extra

    with in_place_of_vllm():
        other = works(tiny_model, tmp_path, "num_epochs: 2, engine: vllm")
    assert sorted(other.phases[0].frozen) == sorted([*phase.frozen, policy])
    assert len(other.loaded) == len(plain.loaded) + 1


@pytest.mark.usefixtures("made_up")
def test_the_chosen_responses_of_comparisons_are_examples_too(tiny_model: Path, tmp_path: Path) -> None:
    tokens = []
    for part in ("demos", "pairs"):
        text = (
            f"model: {json.dumps(str(tiny_model))}\ndata: {{mine: builtin:made-up}}\nsteps:\n"
            "  - reward_rule: {name: rule, rule: length, target: 3}\n"
            "  - ppo: {prompts: mine.prompts, reward: rule, prompts_per_iteration: 8, "
            f"ptx_data: mine.{part}, ptx_coef: 1}}\n"
        )
        plan = make_plan(parse_recipe(text, Path("r.yaml")), STEPS)
        tokens.append(Estimator(plan, STEPS, Store(tmp_path)).works["ppo"].tokens("train"))
    assert tokens[0] > tokens[1] > 0.9 * tokens[0]  # of the same prompts, and a little shorter
