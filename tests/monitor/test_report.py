import re
from dataclasses import replace
from typing import Any

import pytest

from accord.monitor.report import NUM_SAMPLES, build_report
from accord.monitor.svg import Picture
from accord.monitor.views import StepView
from tests.fixtures.report_page import EVALUATION, PAYLOAD, Page, each_picture_is_drawn_once, make_run

__all__ = ["each_picture_is_drawn_once"]

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
