import copy
import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
import vl_convert

from accord.monitor.report import NUM_SAMPLES, build_report
from accord.monitor.svg import Picture
from accord.monitor.views import RunView, StepView

VOID = {"meta", "link", "br", "img", "hr", "input", "wbr"}
PAYLOAD = "</pre></title><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }}\"'"


@pytest.fixture(autouse=True, scope="module")
def each_picture_is_drawn_once() -> Iterator[None]:
    """Most pages here hold the same pictures, and drawing them is what takes the time."""
    drawn: dict[str, str] = {}
    draw = vl_convert.vegalite_to_svg

    def once(spec: dict[str, Any], **options: Any) -> str:
        key = json.dumps(spec, sort_keys=True)
        if key not in drawn:
            drawn[key] = draw(spec, **options)
        return drawn[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vl_convert, "vegalite_to_svg", once)
        yield


class Page(HTMLParser):
    """Tags, attributes and visible text of a page; fails on a tag that is closed out of turn."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


EVALUATION = {
    "num_pairs": 40, "accuracy": 0.7, "accuracy_low": 0.6, "accuracy_high": 0.8, "log_loss": 0.61,
    "longer": 0.55, "ece": 0.0481, "chose_the_weights": True,
    "levels": {"better": {"num_pairs": 30, "accuracy": 0.8, "accuracy_low": 0.7, "accuracy_high": 0.9}},
    "curve": [{"predicted": 0.6, "share": 0.55, "share_low": 0.4, "share_high": 0.7}],
}  # fmt: skip


def make_run() -> RunView:
    names = ("start", "sft", "ppo")
    rates = {"start": 0.4, "sft": 0.5, "ppo": 0.83}
    policies = {
        name: {
            "gold_win_rate": rates[name], "gold_win_rate_low": rates[name] - 0.03,
            "gold_win_rate_high": rates[name] + 0.03, "second_win_rate": rates[name],
            "gold_score": i - 1.0, "proxy_score": i - 0.9, "kl": 6.1 * (i == 2), "mean_tokens": 18.0,
            "distinct_2": 0.9, "entropy": 2.0, "finished": 0.97,
        }
        for i, name in enumerate(names)
    }  # fmt: skip
    ppo = [
        {"iteration": i, "objective/kl": i / 2, "objective/scores": i / 9, "objective/kl_coef": 0.05} for i in range(5)
    ]
    sample = {
        "prompt": "Say something about boats.", "prefill": "A boat", "responses": {n: f" by {n}." for n in names},
        "gold": {"ppo": 1.25}, "proxy": {"ppo": math.nan},
    }  # fmt: skip
    return RunView(
        name="harbour",
        recipe_text="seed: 1\nsteps:\n  - sft: {}\n",
        steps=[
            StepView("sft", "sft", 75.0, True, "a1b2" * 16, {"learning_rate": 2e-5}, [{"iteration": 1, "loss": 3.0}]),
            StepView("ppo", "ppo", 295.0, False, "c3d4" * 16, {"kl_target": 6}, ppo),
        ],
        results={
            "reward_model": {
                "name": "proxy", "num_pairs": 1534, "accuracy": 0.84, "bag_of_words": 0.74, "agreement_on_samples": 0.81
            },
            "policies": policies, "baseline": "sft", "num_prompts": 256, "samples_per_prompt": 4,
            "seconds": {"total": 402.0}, "gemm_gflops": 181.6,
        },
        samples=[copy.deepcopy(sample) for _ in range(NUM_SAMPLES + 3)],
        created="2026-01-02T03:04:05",
        versions={"accord": "0.1.0"},
    )  # fmt: skip


FOR_PHONES = Picture._narrow


@pytest.fixture(scope="module")
def html() -> str:
    """With pictures for phones, which other tests do without (tests.fixtures.hurry)."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Picture, "_narrow", FOR_PHONES)
        return build_report(make_run())


def test_the_page_says_what_happened(html: str) -> None:
    text = " ".join(Page(html).text.split())
    for said in (
        "ppo is preferred over sft in 83 % of comparisons (95 % interval 80 to 86)",
        "It drifted 6.1 nats per sequence from sft.",
        "256 test prompts, 4 samples a policy for each",
        "1,534 pairs",
        "agree in 81 %",
        f"{NUM_SAMPLES} of {NUM_SAMPLES + 3}, all with the prompt: Say something about boats.",
        "A boat by ppo.",
        "gold 1.25, proxy –",  # noqa: RUF001
        "1 min 15 s",
        "6 min 42 s",
        "182 GFLOP/s",
        "a1b2a1b2a1b2",
        "kl_target",
        "steps: - sft: {}",
        "0.1.0",
    ):
        assert said in text
    assert "Missing from this page" not in text
    assert Page(html).tags.count("figure") == 6  # win rates, score against KL, accuracy, two steps, lineage
    assert text.count("A boat by ppo.") == NUM_SAMPLES


def test_the_page_needs_nothing_from_outside(html: str) -> None:
    page = Page(html)
    assert not {"script", "link", "img", "iframe", "object", "form", "base"} & set(page.tags)
    assert not {"src", "xlink:href", "srcset", "action"} & {name for name, _ in page.attributes}
    links = [value for name, value in page.attributes if name == "href"]
    assert all(link.startswith("data:text/csv;charset=utf-8,") for link in links)
    assert len(links) == page.tags.count("figure")
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert not re.search(r"url\(|@import", html)
    assert set(re.findall(r"https?://[^\"'\s<]+", html)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'; img-src data:") in page.attributes
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_the_validation_of_a_reward_model_is_drawn(html: str) -> None:
    run = make_run()
    step = StepView("judge", "reward", 5.0, False, "d" * 64, {}, [], EVALUATION)
    page = build_report(replace(run, steps=[*run.steps, step]))
    text = " ".join(Page(page).text.split())
    assert "judge on its validation" in text
    assert "ECE 0.048" in text
    assert (
        "All pairs: 70 % (60 to 80); log loss 0.610 nats, where knowing nothing is 0.693; "
        "the response with more words is the better one in 55 %. These comparisons also chose" in text
    )
    assert "Safe or unsafe" not in text
    told = {"num_labelled": 40, "num_unsafe": 9, "auc": 0.875, "unsafe_precision": 0.5, "unsafe_recall": None}
    safe = build_report(replace(run, steps=[replace(step, evaluation={**EVALUATION, "safety": told})]))
    assert "of 40 labelled responses, 9 of them unsafe: AUC 0.875 (0.5: the score does not tell them apart)." in safe
    assert "50 % are (precision), and – % of the unsafe ones are found" in safe  # noqa: RUF001
    drawn = "all pairs (40) 70 %, better (30) 80 %, claimed 60 % came true 55 %"
    assert f'aria-label="Accuracy and calibration of judge: {drawn}"' in page
    assert "on its validation" not in html  # there was none
    for steps, missing in (([step], False), ([replace(step, evaluation={})], True)):
        text = Page(build_report(replace(run, steps=steps, results={}))).text
        assert ("No accuracy of a reward model" in text) == missing
    few = replace(step, evaluation={"curve": EVALUATION["curve"]})
    assert "ECE –" in build_report(replace(run, steps=[few]))  # noqa: RUF001


def test_each_picture_is_named_and_captioned(html: str) -> None:
    page = Page(html)
    assert page.tags.count("figure") == page.tags.count("figcaption")
    assert page.tags.count("svg") == 2 * page.tags.count("figure"), "for wide screens and for phones"
    assert page.tags.count("title") == page.tags.count("svg") + 1
    assert html.count('<svg role="img" aria-label="') == page.tags.count("svg")


def test_hostile_text_stays_text() -> None:
    run = make_run()
    samples: list[dict[str, Any]] = [
        {"prompt": PAYLOAD + "P", "prefill": PAYLOAD + "F", "responses": {PAYLOAD: PAYLOAD + "R"}},
        {"prompt": PAYLOAD},
    ]
    hostile = replace(
        run,
        name=PAYLOAD,
        recipe_text=PAYLOAD,
        samples=samples,
        steps=[
            StepView(
                PAYLOAD,
                PAYLOAD,
                1.0,
                False,
                PAYLOAD,
                {PAYLOAD: PAYLOAD},
                [{PAYLOAD: 1.0}],
                {"levels": {PAYLOAD: EVALUATION["levels"]["better"]}, "curve": EVALUATION["curve"]},
            )
        ],
        results=run.results
        | {"baseline": PAYLOAD, "policies": {PAYLOAD + "0": run.results["policies"]["ppo"], PAYLOAD + "1": {}}}
        | {"reward_model": {"name": PAYLOAD, "accuracy": 0.8, "num_pairs": PAYLOAD, "agreement_on_samples": PAYLOAD}},
        created=PAYLOAD,
        versions={PAYLOAD: PAYLOAD},
    )
    page = Page(build_report(hostile))
    assert not {"script", "img"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert page.text.count("<script>alert(1)</script>") >= 15  # shown as written
    assert "{{ 7 * 7 }}" in page.text
    assert PAYLOAD + "R" in page.text


def test_text_that_cannot_be_encoded_is_replaced() -> None:
    samples: list[dict[str, Any]] = [{"prompt": "a\ud800b\x00", "responses": {"ppo": "\udfff\x1b[31m"}}]
    page = build_report(replace(make_run(), samples=samples))
    page.encode("utf-8")
    assert "\x00" not in page
    assert "\x1b" not in page


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
