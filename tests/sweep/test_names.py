"""The numbers that steps will leave are known from the plan. That runs leave them is tested on the shipped recipes."""

from __future__ import annotations

from pathlib import Path

import pytest

from accord.errors import UserError
from accord.plan import Plan, make_plan
from accord.recipe import parse_recipe
from accord.references import refs_of
from accord.steps.registry import STEPS
from accord.sweep.measure import Metric, choose
from accord.sweep.names import LOGGED, MEASURED, evaluated_by, logged_by

HEAD = """
model: smollm2-135m-instruct
data: {mine: builtin:film-reviews}
steps:
  - reward: {name: proxy, data: mine.proxy}
  - reward: {name: gold, data: mine.gold_test, validation: mine.gold_validation}
  - reward_rule: {name: brevity, rule: length}
  - ppo: {prompts: mine.prompts, reward: proxy, watch: [brevity]}
"""
EVALUATE = "  - evaluate: {policies: [start, ppo], by: gold, prompts: mine.test_prompts}\n"
WITH_PROXY = """  - evaluate:
      {policies: [start, ppo], by: gold, prompts: mine.test_prompts, proxy: proxy, second: [mine.gold_test]}
"""


def plan(evaluate: str = EVALUATE) -> Plan:
    return make_plan(parse_recipe(HEAD + evaluate, Path("r.yaml")), STEPS)


def known(name: str) -> frozenset[str]:
    found = logged_by(plan().step(name))
    assert found is not None
    return found


def test_every_kind_is_known() -> None:
    assert LOGGED.keys() == STEPS.keys()
    assert MEASURED.keys() == {kind for kind, row in STEPS.items() if "validation" in refs_of(row.config)}


def test_names_are_those_of_what_the_step_is_given() -> None:
    assert {"loss", "eval_loss", "validation.accuracy", "best_eval_loss"} <= known("gold")
    assert {"eval_loss", "validation.accuracy", "best_eval_loss"}.isdisjoint(known("proxy"))
    assert {name for name in known("ppo") if name.startswith("watch/")} == {"watch/brevity"}
    assert "spread/brevity" not in known("ppo")
    assert known("brevity") == frozenset()


def test_names_of_an_evaluation() -> None:
    names = [evaluated_by(plan(text).steps[-1], ["ppo"]) for text in (EVALUATE, WITH_PROXY)]
    assert all(found and {"gold_win_rate_low", "kl", "seconds.ppo", "seconds.total"} <= found for found in names)
    more = {"proxy_score", "second_win_rate", "reward_model.agreement_on_samples"}
    assert [found and more & found for found in names] == [set(), more]
    assert not any(found and {"proxy_win_rate", "reward_model.accuracy"} & found for found in names)


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        ("gold_win_rat", "no run will have a number 'gold_win_rat'\n  Did you mean 'gold_win_rate'?"),
        ("proxy_score", "no run will have a number 'proxy_score'\n  Did you mean 'gold_score'?"),
        (
            "objective/kl",
            "no run will have a number 'objective/kl'\n  It is what a step logs: --metric ppo:objective/kl.",
        ),
        ("ppo:objective/score", "Did you mean 'ppo:objective/scores'?"),
        ("proxy:eval_loss", "no run will have a number 'proxy:eval_loss'"),
        ("model:loss", "the step logs counts at most\n  Add an evaluate step"),
    ],
)
def test_a_mistyped_metric_is_refused_with_the_plan(metric: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        choose(metric, None, plan())
    assert caught.value.where == f"--metric {metric}"
    assert says in str(caught.value)


def test_counts_are_left_to_the_first_run() -> None:
    assert choose("proxy:num_comparisons", None, plan()) == Metric("num_comparisons", "proxy")
    assert choose("num_prompts", None, plan()) == Metric("num_prompts")


def test_watched_rewards_that_are_made_of_several_have_a_spread() -> None:
    several = (
        "  - reward: {name: ens, data: mine.proxy, lora: {rank: 2}, members: 2}\n"
        "  - combine: {name: both, rewards: [brevity, gold], how: sum}\n"
        "  - rloo: {prompts: mine.prompts, reward: proxy, watch: [ens, both, gold]}\n"
    )
    found = logged_by(make_plan(parse_recipe(HEAD + several, Path("r.yaml")), STEPS).step("rloo"))
    assert found is not None
    assert {name for name in found if name.startswith("spread/")} == {"spread/reward", "spread/ens", "spread/both"}


def test_a_table_of_reward_models_is_no_evaluation_of_policies() -> None:
    both = plan(EVALUATE + "  - accuracy: {rewards: [proxy, gold], data: mine.gold_test}\n")
    assert choose(None, None, both) == choose(None, None, plan())
    metric = "accuracy:accuracy.proxy.mine.gold_test"
    assert choose(metric, None, both) == Metric("accuracy.proxy.mine.gold_test", "accuracy")
    with pytest.raises(UserError, match=r"Did you mean 'accuracy:accuracy.proxy.mine.gold_test'"):
        choose("accuracy:accuracy.proxi.mine.gold_test", None, both)


def test_shares_of_dialogues_are_known_by_policy_and_turn() -> None:
    text = "  - consistency: {policies: [start, ppo], prompts: mine.test_prompts, turns: [2, 6]}\n"
    both = plan(EVALUATE + text)
    metric = "consistency:policies.ppo.turn_6"
    assert choose(metric, None, both) == Metric("policies.ppo.turn_6", "consistency")
    with pytest.raises(UserError, match=r"Did you mean 'consistency:policies.ppo.turn_6'"):
        choose("consistency:policies.ppo.turn_5", None, both)
    with pytest.raises(UserError, match="no policy 'proxy' is evaluated"):
        choose(None, "proxy", both)
    assert choose(None, None, both) == Metric("gold_win_rate"), "which the evaluation has, and the dialogues have not"
