"""What an evaluation says of a judge, a second evaluator and prompts that were not held out, by each route."""

from __future__ import annotations

from pathlib import Path

import pytest

from accord.data import catalog
from accord.plan import Plan, make_plan
from accord.recipe import parse_recipe
from accord.steps.registry import STEPS
from tests.fixtures.made_up_data import made_up

__all__ = ["made_up"]

RULES = (
    "def long(responses):\n    return [len(text) for text in responses]\n"
    "def short(responses):\n    return [-len(text) for text in responses]\n"
    "def grades(prompts, responses):\n    return [[1.0, 0.0] for _ in prompts]\n"
)
REWARDS = """\
  - reward_function: {name: gold, file: rules.py, function: long}
  - reward_function: {name: proxy, file: rules.py, function: short}
"""
SFT = "  - sft: {data: mine.demos, max_response_tokens: 20}\n"
HELD_OUT = "prompts: mine.test_prompts, num_prompts: 3, num_samples: 2, max_response_tokens: 4"
PARTS = {"test_prompts": "prompts", **dict.fromkeys(("proxy", "gold", "other"), "comparisons")}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made_up: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rules.py").write_text(RULES)
    for part, kind in PARTS.items():  # of which there are no files: a plan reads none
        monkeypatch.setitem(catalog.BUILTIN["made-up"].parts, part, kind)  # type: ignore[index]


def planned(steps: str) -> Plan:
    text = "model: smollm2-135m-instruct\ndata: {mine: builtin:made-up}\nsteps:\n" + steps
    return make_plan(parse_recipe(text, Path("r.yaml")), STEPS)


def test_a_judge_that_was_optimised_is_worth_a_word() -> None:
    reject = "  - reject: {prompts: mine.prompts, reward: gold, num_samples: 2}\n"
    evaluate = f"  - evaluate: {{policies: [start, reject, sft], by: gold, {HELD_OUT}}}\n"
    plan = planned(REWARDS + reject + SFT.replace("{", "{start: reject, ") + evaluate)
    (caution,) = plan.cautions
    assert caution == (
        "r.yaml:8:evaluate.by: 'gold' judges what was trained against it: reject, sft. "
        "Let another reward judge, one that no policy was trained against."
    )
    assert planned(REWARDS + reject + evaluate.replace("by: gold", "by: proxy").replace(", sft]", "]")).cautions == ()


COMBINED = """\
  - combine: {name: both, rewards: [gold, proxy]}
  - reward_rule: {name: rule, rule: finished}
  - combine: {name: judge, rewards: [proxy, rule]}
"""


@pytest.mark.parametrize(
    ("reward", "by", "says"),
    [
        ("both", "gold", "'gold' judges what was trained against it: reject."),
        ("both", "judge", "'judge' judges what was trained against a part of it: reject."),
        ("both", "rule", None),
        ("gold", "judge", None),
    ],
)
def test_a_judge_that_was_a_part_of_what_was_optimised(reward: str, by: str, says: str | None) -> None:
    reject = f"  - reject: {{prompts: mine.prompts, reward: {reward}, num_samples: 2}}\n"
    steps = REWARDS + COMBINED + reject + f"  - evaluate: {{policies: [start, reject], by: {by}, {HELD_OUT}}}\n"
    cautions = planned(steps).cautions
    assert [says] == [says for caution in cautions if says and says in caution] if says else cautions == ()


LEARNED = """\
  - sft: {data: mine.demos, max_response_tokens: 20}
  - reward: {name: gold, data: mine.gold}
  - reward: {name: proxy, data: mine.proxy, start: sft}
"""
LABELS = """\
  - sample: {prompts: mine.prompts, policies: [sft]}
  - collect: {comparisons: sample, reward: gold}
"""
BETWEEN = """\
  - reward: {name: between, data: collect, start: sft}
"""
BY_GOLD = f"by: gold, {HELD_OUT}"


def told(steps: str, policies: str, keys: str = BY_GOLD) -> dict[str, str]:
    """What a plan warns of at its evaluation, by key. The other steps give no reason to."""
    plan = planned(f"{LEARNED}{steps}  - evaluate: {{policies: [{policies}], {keys}}}\n")
    found = {}
    for caution in plan.cautions:
        where, _, what = caution.partition(": ")
        assert ":evaluate." in where
        found[where.rpartition(".")[2]] = what
    assert len(found) == len(plan.cautions), "one of each kind"
    return found


JUDGED = (
    "'gold' judges what was trained against it: {}. Let another reward judge, one that no policy was trained against."
)
APART = "Let each learn from a part that nothing else learns from."


@pytest.mark.parametrize(
    ("learns", "policy"),
    [
        ("  - dpo: {data: collect, start: sft, reference: sft, batch_size: 4}\n", "dpo"),
        ("  - kto: {data: collect, start: sft, reference: sft}\n", "kto"),
        ("  - sft: {name: chosen, data: collect, start: sft, max_response_tokens: 20}\n", "chosen"),
        (BETWEEN + "  - ppo: {prompts: mine.prompts, reward: between, start: sft}\n", "ppo"),
        (BETWEEN + "  - reject: {prompts: mine.prompts, reward: between, start: sft}\n", "reject"),
        (BETWEEN + "  - reward_rule: {rule: finished}\n  - combine: {rewards: [between, reward_rule]}\n"
         "  - reject: {prompts: mine.prompts, reward: combine, start: sft}\n", "reject"),
        # What it learned goes on in who starts from it, and in who imitates its samples.
        ("  - dpo: {data: collect, start: sft, reference: sft, batch_size: 4}\n"
         "  - sft: {name: next, data: mine.demos, start: dpo, max_response_tokens: 20}\n", "next"),
        ("  - dpo: {data: collect, start: sft, reference: sft, batch_size: 4}\n"
         "  - sample: {name: own, prompts: mine.prompts, policies: [dpo]}\n"
         "  - collect: {name: sorted, comparisons: own, file: rules.py, function: grades}\n"
         "  - kto: {data: sorted, start: sft, reference: sft}\n", "kto"),
    ],
)  # fmt: skip
def test_a_judge_that_reached_a_policy_through_its_labels(learns: str, policy: str) -> None:
    assert told(LABELS + learns, f"sft, {policy}") == {"by": JUDGED.format(policy)}


@pytest.mark.parametrize(
    ("steps", "policies", "keys", "says"),
    [
        (  # on the labels that the judge learned from
            "  - dpo: {data: mine.gold, start: sft, reference: sft, batch_size: 4}\n",
            "sft, dpo",
            "by: gold",
            {"by": f"'gold' learned from the same data (mine.gold) as dpo. {APART}"},
        ),
        (  # as the reward that was optimised
            "  - reward: {name: same, data: [mine.other, mine.gold]}\n"
            "  - reject: {prompts: mine.prompts, reward: same, start: sft}\n",
            "sft, reject",
            "by: gold, proxy: same",
            {"by": f"'gold' learned from the same data (mine.gold) as reject, same. {APART}"},
        ),
        (
            "",
            "sft",
            "by: gold, second: [mine.gold, mine.other]",
            {"second": f"'gold' learned from the same data (mine.gold) as the second evaluator. {APART}"},
        ),
        (
            "  - reject: {prompts: mine.prompts, reward: proxy, start: sft}\n",
            "sft, reject",
            "by: gold, second: [mine.proxy], proxy: proxy",
            {"by": f"the second evaluator learned from the same data (mine.proxy) as reject, proxy. {APART}"},
        ),
        (
            "  - dpo: {data: mine.other, start: sft, reference: sft, batch_size: 4}\n",
            "dpo",
            "by: gold, second: [mine.other, mine.gold]",
            {
                "second": "'gold' learned from the same data (mine.gold) as the second evaluator; "
                f"the second evaluator learned from the same data (mine.other) as dpo. {APART}"
            },
        ),
        (  # both of the first two kinds, and each said once
            "  - reject: {prompts: mine.prompts, reward: gold, start: sft}\n",
            "sft, reject",
            "by: gold",
            {"by": JUDGED.format("reject")},
        ),
    ],
)
def test_who_learned_from_the_same_labels(steps: str, policies: str, keys: str, says: dict[str, str]) -> None:
    assert told(steps, policies, f"{keys}, {HELD_OUT}") == says


@pytest.mark.parametrize(
    ("steps", "policies"),
    [
        ("  - reject: {prompts: mine.prompts, reward: proxy, start: sft}\n", "sft, reject"),
        (LABELS + "  - reject: {prompts: collect, reward: proxy, start: sft}\n", "sft, reject"),  # its prompts alone
        (
            LABELS + "  - dpo: {data: mine.other, start: sft, reference: sft, batch_size: 4, validation: collect}\n",
            "dpo",
        ),
        (
            "  - ppo: {prompts: mine.prompts, reward: proxy, start: sft, watch: [gold]}\n",
            "sft, ppo",
        ),
    ],
)
def test_a_judge_that_only_looked_on(steps: str, policies: str) -> None:
    assert told(steps, policies, BY_GOLD + ", second: [mine.pairs]") == {}


def test_one_annotator_may_label_for_both() -> None:
    steps = "".join(
        f"  - sample: {{name: s{i}, prompts: mine.prompts, policies: [sft]}}\n"
        f"  - collect: {{name: labels{i}, comparisons: s{i}, reward: proxy}}\n"
        f"  - reward: {{name: learned{i}, data: labels{i}, start: sft}}\n"
        for i in (1, 2)
    )
    steps += "  - reject: {prompts: mine.prompts, reward: learned1, start: sft}\n"
    assert told(steps, "sft, reject", f"by: learned2, proxy: learned1, {HELD_OUT}") == {}


TRAINED_ON = "Evaluate on prompts that no policy was trained on."


@pytest.mark.parametrize(
    ("steps", "policies", "prompts", "says"),
    [
        ("", "start, sft", "mine.demos", "mine.demos was trained on: sft."),
        (
            "  - reject: {prompts: mine.prompts, reward: proxy, start: sft}\n"
            "  - dpo: {data: mine.other, start: reject, reference: sft, batch_size: 4}\n",
            "sft, reject, dpo",
            "mine.prompts",
            "mine.prompts was trained on: reject, dpo.",
        ),
        (
            "  - dpo: {data: mine.other, start: sft, reference: sft, batch_size: 4}\n",
            "dpo",
            "mine.other",
            "mine.other was trained on: dpo.",
        ),
        (
            LABELS.replace("gold", "proxy") + "  - dpo: {data: collect, start: sft, reference: sft, batch_size: 4}\n",
            "dpo",
            "mine.prompts",
            "mine.prompts was trained on: dpo.",
        ),
        (  # the prompts after those of the evaluation
            LABELS.replace("gold", "proxy").replace("[sft]", "[sft], skip_prompts: 3")
            + "  - dpo: {data: collect, start: sft, reference: sft, batch_size: 4}\n",
            "dpo",
            "mine.prompts",
            None,
        ),
        ("  - reject: {prompts: mine.prompts, reward: proxy, start: sft}\n", "reject", "mine.proxy", None),
    ],
)
def test_prompts_that_were_trained_on(steps: str, policies: str, prompts: str, says: str | None) -> None:
    keys = BY_GOLD.replace("mine.test_prompts", prompts)
    assert told(steps, policies, keys) == ({"prompts": f"{says} {TRAINED_ON}"} if says else {})


def test_a_mixture_hands_on_what_it_is_made_of_but_not_to_what_it_holds_out() -> None:
    mixed = (
        "  - mix: {main: mine.proxy, others: mine.other, validation: 0.1}\n"
        "  - reward: {name: proxy, data: mix}\n"
        "  - reward_function: {name: gold, file: rules.py, function: long}\n"
    )
    evaluate = f"  - evaluate: {{policies: [start], by: gold, proxy: proxy, second: [mine.other], {HELD_OUT}}}\n"
    (caution,) = planned(mixed + evaluate).cautions
    assert "the second evaluator learned from the same data (mine.other) as proxy" in caution
    assert planned(mixed + evaluate.replace("mine.other]", "mix.validation]")).cautions == ()
    (caution,) = planned(mixed + evaluate.replace("mine.other]", "mix]")).cautions
    assert "(mine.other, mine.proxy, mix.train) as proxy" in caution
