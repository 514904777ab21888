"""What a report says where something is missing: numbers, samples, whole evaluations."""

import math
from dataclasses import replace
from typing import Any

import pytest

from accord.monitor.report import build_report
from accord.monitor.views import RunView, StepView
from tests.fixtures.report_page import Page, each_picture_is_drawn_once, make_run

__all__ = ["each_picture_is_drawn_once"]


def test_an_empty_run_says_what_is_missing() -> None:
    page = Page(build_report(RunView("empty", "", [], {}, [], "", {})))
    text = " ".join(page.text.split())
    assert "svg" not in page.tags
    assert "code" in page.tags
    for said in (
        "no measure of drift. An evaluate step measures them.",
        "No accuracy of a reward model",
        "No samples were kept. An evaluate step keeps",
        "No step has finished",
    ):
        assert said in text


def test_gaps_are_shown_as_gaps() -> None:
    run = make_run()
    results: dict[str, Any] = {
        "reward_model": None,
        "policies": {"ppo": {"gold_win_rate": 0.8, "kl": math.nan}},
        "seconds": None,
    }
    silent = replace(run.steps[0], metrics=[], seconds=math.nan)
    text = " ".join(Page(build_report(replace(run, results=results, steps=[silent, run.steps[1]]))).text.split())
    assert "ppo is preferred over the baseline in 80 % of comparisons" in text
    assert "No KL was measured for ppo." in text
    assert "do not name the baseline" in text
    assert "No training metrics were found for sft." in text
    idle = replace(silent, kind="distill", summary={"training": {"num_demonstrations": 0, "num_optimizer_steps": 0}})
    assert "No training metrics" not in Page(build_report(replace(run, steps=[idle, run.steps[1]]))).text
    idle = replace(idle, summary={"training": {"num_optimizer_steps": 3}})
    assert "No training metrics were found for sft." in Page(build_report(replace(run, steps=[idle]))).text
    assert text.count("4 min 55 s") == 2  # 295 s, the only known time, is also the total
    assert "nan" not in text.lower()


@pytest.mark.parametrize("key", list(make_run().results))
def test_any_part_of_the_results_may_be_absent_or_null(key: str) -> None:
    run = replace(make_run(), steps=[], samples=[])
    without = {name: value for name, value in run.results.items() if name != key}
    assert build_report(replace(run, results=without)) == build_report(replace(run, results=run.results | {key: None}))


def test_numbers_of_policies_may_be_null() -> None:
    run = replace(make_run(), steps=[], samples=[])
    run.results["policies"]["ppo"] = dict.fromkeys(run.results["policies"]["ppo"])
    text = Page(build_report(run)).text
    assert "No policy" not in text  # the start policy still has its numbers
    assert text.count("–") == 9  # noqa: RUF001  the nine cells of ppo


def test_a_column_without_a_number_and_a_proxy_that_is_none_are_left_out() -> None:
    run = make_run()
    absent = ("second_win_rate", "proxy_score")
    policies = {
        name: {key: value for key, value in row.items() if key not in absent}
        for name, row in run.results["policies"].items()
    }
    results = {key: value for key, value in run.results.items() if key != "reward_model"} | {"policies": policies}
    samples = [{key: value for key, value in sample.items() if key != "proxy"} for sample in run.samples]
    page = build_report(replace(run, steps=[], results=results, samples=samples))
    text = Page(page).text
    assert "win rate, gold" in text
    for heading in ("win rate, second", "proxy score", "second score"):
        assert f">{heading}</th>" not in page
    assert "No accuracy of a reward model" not in text
    assert ", proxy" not in text
    assert "gold 1.25" in text
    assert "No second evaluator checked this." in text


def test_a_run_without_an_evaluation_names_what_looked_on_and_what_went_wrong() -> None:
    rows = [
        {"iteration": i, "objective/kl": i, "objective/scores": i, "watch/judge": -i, "response/finished": 0.0}
        for i in range(1, 9)
    ]
    step = StepView("ppo", "ppo", 1.0, False, "a" * 64, {}, rows)
    one = StepView("sft", "sft", 1.0, False, "b" * 64, {}, [{"iteration": 1, "loss": 3.0}])
    text = " ".join(Page(build_report(RunView("r", "", [step, one], {}, [], "", {}))).text.split())
    assert "the way that ppo took on the training prompts, dashed" in text
    assert "solid the score by judge, which looked on." in text
    assert "clip fraction" in text
    assert "gold validation" not in text
    assert "No other reward looked at" not in text
    assert "almost no response is finished" in text
    assert "GFLOP/s" not in text
    assert "1 row of metrics" in text
    alone = [{key: value for key, value in row.items() if key != "watch/judge"} for row in rows]
    page = build_report(RunView("r", "", [replace(step, metrics=alone)], {}, [], "", {}))
    text = " ".join(Page(page).text.split())
    assert "(moving mean of 5 iterations)." in text
    assert "No other reward looked at ppo, so that over-optimisation cannot be seen. Name one that nothing" in text
    short = [replace(step, name=name, kind="online_dpo", metrics=rows[:7]) for name in ("online", "offline")]
    text = " ".join(Page(build_report(RunView("r", "", short, {}, [], "", {}))).text.split())
    assert "the way that" not in text
    assert "Score against drift is not drawn. It takes three policies" in text
    assert "PPO" not in text, "nothing was trained with it"
    assert text.partition("Training")[0].count("almost no response is finished") == 1, "in the verdict"
    assert "online, offline, from 1 on: almost no response" in text


def test_training_does_not_change_the_tone_of_an_evaluation() -> None:
    run = make_run()
    rows = [row | {"response/finished": 0.0} for row in run.steps[1].metrics]
    tone = build_report(run).split('class="verdict ')[1].split('"')[0]
    page = build_report(replace(run, steps=[run.steps[0], replace(run.steps[1], metrics=rows)]))
    assert f'class="verdict {tone}"' in page
    assert "almost no response is finished" in page
