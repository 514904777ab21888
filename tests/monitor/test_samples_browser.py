from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from typing import Any

from accord.monitor.report import build_report
from accord.monitor.samples_browser import MOST_ROWS, samples_browser
from accord.monitor.views import RunView, StepView

HOSTILE = "</li></ol><script>alert(1)</script><img src=x onerror=alert(2)>"


def sample(at: int = 0, **policies: float) -> dict[str, Any]:
    return {
        "prompt": f"prompt {at}",
        "prefill": "The",
        "responses": {name: f" answer of {name} {at}" for name in policies},
        "gold": policies,
        "proxy": {name: -score for name, score in policies.items()},
    }


def evaluation(name: str, samples: list[dict[str, Any]], baseline: str = "sft") -> StepView:
    return StepView(name, "evaluate", 1.0, False, "e" * 64, {}, results={"baseline": baseline}, samples=samples)


def test_a_row_is_a_policy_beside_the_baseline_with_the_change_of_its_score() -> None:
    found = samples_browser([evaluation("evaluate", [sample(0, sft=0.5, ppo=2.0, dpo=0.25)])])
    assert found.policies == ["ppo", "dpo"]
    first, second = found.rows
    assert (first.before, first.after) == (" answer of sft 0", " answer of ppo 0")
    assert first.scores == ["gold 0.50 to 2.00, +1.50", "proxy -0.50 to -2.00, -1.50"]
    assert (first.change, second.change) == (1.5, -0.25)
    assert found.by == "gold"


def test_gaps_are_no_rows_and_unknown_scores_no_change() -> None:
    without = {**sample(1, sft=0.5, ppo=1.0), "gold": {}, "proxy": {"ppo": 1.0}}
    alone = sample(2, ppo=1.0)
    found = samples_browser([evaluation("evaluate", [without, alone])])
    (row,) = found.rows
    assert row.change is None
    assert row.scores == ["proxy – to 1.00"]  # noqa: RUF001
    assert samples_browser([]).rows == []
    assert samples_browser([evaluation("evaluate", [alone])]).num_rows == 0


def test_a_study_s_choices_stand_beside_its_first_samples_and_a_shared_prompt_is_said_once() -> None:
    both = [{**sample(at, first=0.0, best=1.0), "prompt": "Write a line."} for at in range(2)]
    study = replace(evaluation("study", both), kind="overoptimization", results={"chosen_beside": "first"})
    found = samples_browser([study])
    assert [(row.before_name, row.change) for row in found.rows] == [("first", 1.0)] * 2
    assert found.shared_prompt == "Write a line."
    assert samples_browser([study, evaluation("evaluate", [sample(0, sft=0.5, ppo=2.0)])]).shared_prompt == ""
    html = build_report(RunView("r", "", [study], {}, [], "", {}))
    assert html.count("Write a line.") == 1


def test_the_page_has_a_bounded_number_of_rows_of_every_policy() -> None:
    many = [sample(at, sft=0.0, ppo=1.0, dpo=2.0) for at in range(400)]
    found = samples_browser([evaluation("evaluate", many), evaluation("again", many[:5])])
    assert len(found.rows) <= MOST_ROWS
    assert found.num_rows == 810
    assert {(row.step, row.policy) for row in found.rows} == {(0, 0), (0, 1), (1, 0), (1, 1)}


def page(samples: list[dict[str, Any]]) -> str:
    run = RunView("r", "", [evaluation("evaluate", samples)], {"baseline": "sft"}, samples, "", {})
    return build_report(run)


def test_the_only_script_is_the_one_that_the_page_allows() -> None:
    html = page([sample(0, sft=0.0, ppo=1.0)])
    (code,) = re.findall(r"<script>(.*?)</script>", html, flags=re.S)
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    assert f"img-src data:; script-src 'sha256-{digest}'" in html
    for banned in ("innerHTML", "eval(", "fetch(", "http", "document.write"):
        assert banned not in code
    assert "<script" not in page([])


def test_samples_are_there_without_javascript_and_are_text() -> None:
    hostile = sample(0, sft=0.0, ppo=1.0)
    hostile |= {"prompt": HOSTILE, "prefill": HOSTILE, "responses": {"sft": HOSTILE, "ppo": HOSTILE}}
    html = page([hostile])
    assert html.count("<script>") == 1
    assert "<img" not in html
    assert html.count("&lt;/li&gt;&lt;/ol&gt;&lt;script&gt;") >= 3
    assert 'id="samples-controls" class="controls" hidden' in html
    listed = re.search(r'<ol class="samples">(.*?)</ol>', html, flags=re.S)
    assert listed is not None
    assert "hidden" not in listed[1]


def test_the_names_of_policies_are_text() -> None:
    named = sample(0, **{"sft": 0.0, HOSTILE: 1.0})
    run = RunView("r", "", [evaluation(HOSTILE, [named])], {"baseline": "sft"}, [named], "", {})
    assert "<img" not in build_report(replace(run, name=HOSTILE))
