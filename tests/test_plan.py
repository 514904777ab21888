"""Plans: references, keys and the place of every mistake."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from accord.errors import UserError
from accord.plan import step_seed
from accord.references import refs_of
from accord.steps.base import (
    PolicyRef,
    StepConfig,
    StepKind,
)
from tests.fixtures.plans import GOOD, REGISTRY, PpoConfig, changed, names, no_run, plan_of


def test_steps_and_references():
    plan = plan_of()
    assert [(step.name, step.kind) for step in plan.steps] == [
        ("model", "model"),
        ("reviews", "data"),
        ("sft", "sft"),
        ("proxy", "reward"),
        ("ppo", "ppo"),
        ("evaluate", "evaluate"),
    ]
    ppo = plan.step("ppo")
    assert names(ppo, "prompts") == [("reviews.prompts", "reviews", "prompts")]
    assert names(ppo, "start") == [("latest", "sft", None)]  # the reward model is no policy
    assert names(ppo, "reference") == [("sft", "sft", None)]
    assert names(plan.step("sft"), "start") == [("latest", "model", None)]
    assert [name for _, name, _ in names(plan.step("evaluate"), "policies")] == ["model", "sft", "ppo"]
    assert names(plan_of(GOOD.replace("      reference: sft\n", "")).step("ppo"), "reference") == []
    both = plan_of(GOOD.replace("data: reviews.sft", "data: [reviews.sft, reviews.sft]"))
    assert len(both.step("sft").parents["data"]) == 2


def test_a_key_is_the_digest_of_what_the_docstring_says():
    plan = plan_of()
    model = {"kind": "model", "version": 1, "config": {"source": "tiny"}, "seed": 0, "parents": {}}
    expected = hashlib.sha256(json.dumps(model, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    assert plan.step("model").key == expected
    proxy = {
        "kind": "reward",
        "version": 1,
        "config": {"start": "model"},
        "seed": int(hashlib.sha256(b"int:1\x1fstr:proxy").hexdigest()[:16], 16) // 2,
        "parents": {"start": [[expected, None]]},
    }
    digest = hashlib.sha256(json.dumps(proxy, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    assert plan.step("proxy").key == digest
    assert step_seed(1, "proxy") == proxy["seed"] < 2**63


def test_what_changes_a_key():
    base = plan_of()
    assert changed(base, plan_of()) == set()
    assert changed(base, plan_of(GOOD.replace("prompts: reviews", "kl_target: 6.0\n      prompts: reviews"))) == set()
    assert changed(base, plan_of(overrides=("ppo.kl_target=3",))) == {"ppo", "evaluate"}
    assert changed(base, plan_of(overrides=("sft.optimizer.rate=0.5",))) == {"sft", "ppo", "evaluate"}
    assert changed(base, plan_of(overrides=("seed=2",))) == {"sft", "proxy", "ppo", "evaluate"}
    assert changed(base, plan_of(overrides=("reviews.limit=3",))) == {"reviews", "sft", "ppo", "evaluate"}
    assert changed(base, plan_of(overrides=("model=other",))) == {"model", "sft", "proxy", "ppo", "evaluate"}
    newer = {**REGISTRY, "ppo": StepKind("policy", 4, PpoConfig, no_run)}
    assert changed(base, plan_of(registry=newer)) == {"ppo", "evaluate"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("- sft: {", "- sfft: {", "r.yaml:4:sfft: there is no step of kind 'sfft'\n  Did you mean 'sft'?"),
        ("- sft: {", "- model: {name: x, ", "r.yaml:4:x: there is no step of kind 'model'"),
        ("reward: proxy", "rewrd: proxy", "r.yaml:9:ppo.rewrd: unknown key 'rewrd'\n  Did you mean 'reward'?"),
        ("{data: reviews.sft}", "{}", "r.yaml:4:sft.data: the key 'data' is missing"),
        (
            "data: reviews.sft",
            "data: reviews.sft, optimizer: {raet: 1}",
            "r.yaml:4:sft.optimizer.raet: unknown key 'raet'\n  Did you mean 'rate'?",
        ),
        (
            "data: reviews.sft",
            "data: reviews.sft, others: [{raet: 1}]",
            "r.yaml:4:sft.others.0.raet: unknown key 'raet'\n  Did you mean 'rate'?",
        ),
        (
            "data: reviews.sft",
            "data: reviews.sft, optimizer: {rate: -1}",
            "r.yaml:4:sft.optimizer.rate: it should be greater than 0\n  It is -1.",
        ),
        (
            "reward: proxy",
            "reward: prxy",
            "r.yaml:9:ppo.reward: there is nothing called 'prxy'\n  Did you mean 'proxy'?",
        ),
        (
            "reward: proxy",
            "reward: sft",
            "r.yaml:9:ppo.reward: 'sft' is a policy, and a reward is wanted here\n  Rewards above: proxy.",
        ),
        ("reward: proxy", "reward: latest", "'latest' is a policy, and a reward is wanted here"),
        (
            "reference: sft",
            "reference: proxy",
            "r.yaml:10:ppo.reference: 'proxy' is a reward model, and a policy is wanted here\n"
            "  Policies above: model, sft.",
        ),
        ("reference: sft", "reference: reviews", "'reviews' is a data set, and a policy is wanted"),
        ("[start, sft, ppo]", "[start, proxy]", "r.yaml:11:evaluate.policies.1: 'proxy' is a reward model"),
        (
            "reviews.sft}",
            "reviews.sff}",
            "r.yaml:4:sft.data: 'reviews' has no part 'sff'\n  Did you mean 'reviews.sft'?",
        ),
        ("reviews.sft}", "reviews.prompts}", "'reviews.prompts' holds prompts, and demonstrations are wanted here"),
        ("reviews.sft}", "reviews}", "'reviews' is not the demonstrations of a data set"),
        ("reviews.sft}", "review.sft}", "there is nothing called 'review'\n  Did you mean 'reviews'?"),
        ("reviews.sft}", "sft}", "Write NAME.PART. Known: reviews.sft."),
        ("reviews.sft}", "sft.sft}", "the step 'sft' is not defined above, but on line 4"),
        (
            "data: reviews.sft",
            "data: reviews.sft, start: ppo",
            "r.yaml:4:sft.start: the step 'ppo' is not defined above",
        ),
        ("reference: sft", "reference: ppo", "r.yaml:10:ppo.reference: the step 'ppo' is not defined above"),
        ("data: reviews.sft", "data: 3", "r.yaml:4:sft.data: it should be text\n  It is 3."),
        ("made-up", "unknown", "r.yaml:2:reviews: there is no data set 'unknown'"),
        ("made-up", "{source: made-up, limt: 3}", "r.yaml:2:reviews.limt: unknown key 'limt'\n  Did you mean 'limit'?"),
    ],
)
def test_mistakes_have_a_place_and_a_remedy(old: str, new: str, message: str):
    assert old in GOOD
    with pytest.raises(UserError) as caught:
        plan_of(GOOD.replace(old, new))
    assert message in str(caught.value)
    assert caught.value.where.startswith("r.yaml:")
    assert caught.value.remedy


def test_all_mistakes_in_the_keys_of_a_step_are_told_at_once():
    """The typos first; that a key is missing may come of one, and is not said beside them."""
    wrong = GOOD.replace("data: reviews.sft", "dta: reviews.sft, optimizer: {rate: -1}, strt: model")
    with pytest.raises(UserError) as caught:
        plan_of(wrong)
    assert str(caught.value).splitlines() == [
        "r.yaml:4:sft.dta: unknown key 'dta'",
        "  Did you mean 'data'?",
        "r.yaml:4:sft.strt: unknown key 'strt'",
        "  Did you mean 'start'?",
        "r.yaml:4:sft.optimizer.rate: it should be greater than 0",
        "  It is -1.",
    ]


def test_an_override_is_named_as_the_place():
    with pytest.raises(UserError, match=r"--set ppo.kl_traget: unknown key") as caught:
        plan_of(overrides=("ppo.kl_traget=3",))
    assert caught.value.remedy == "Did you mean 'kl_target'?"


def test_a_ref_in_a_nested_config_is_refused():
    class Inner(BaseModel):
        start: PolicyRef

    class Outer(StepConfig):
        inner: Inner

    with pytest.raises(AssertionError, match="nested"):
        refs_of(Outer)


VALUES = st.sampled_from(
    [
        "3",
        "-1",
        "x",
        "null",
        "[]",
        "[a, 1]",
        "{a: 1}",
        "latest",
        "model",
        "reviews.sft",
        "a.b.c",
        "true",
        "''",
        ".",
        "1e3",
    ]
)
FIELDS = st.sampled_from(
    ["data", "start", "reward", "prompts", "policies", "optimizer", "optimizer.rate", "others", "z"]
)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    sets=st.lists(
        st.tuples(st.sampled_from(["sft", "proxy", "ppo", "evaluate", "reviews"]), FIELDS, VALUES), min_size=1
    )
)
def test_any_values_give_a_plan_or_a_user_error(sets: list[tuple[str, str, str]]):
    try:
        plan = plan_of(overrides=tuple(f"{name}.{field}={value}" for name, field, value in sets))
    except UserError as error:
        where = error.where
    else:
        where = str(plan.recipe.path)
    assert where.startswith(("r.yaml", "--set "))


@settings(max_examples=120, deadline=None, derandomize=True)
@given(at=st.integers(0, len(GOOD)), cut=st.integers(0, 6), piece=st.text(max_size=3))
def test_mutated_recipes_give_a_plan_or_a_user_error(at: int, cut: int, piece: str):
    try:
        plan = plan_of(GOOD[:at] + piece + GOOD[at + cut :])
    except UserError as error:
        where = error.where
    else:
        where = str(plan.recipe.path)
    assert where.startswith("r.yaml")
