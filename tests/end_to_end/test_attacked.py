"""A recipe that ends in attacks and in judges, whole: its numbers are in one file, and its report shows them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from accord.results import write_report
from accord.store.artifacts import Store
from tests.collect.test_judge import prefers_longer, said
from tests.fixtures.http_server import Answer, serving
from tests.fixtures.made_up_data import made_up
from tests.fixtures.recipes import run_steps

__all__ = ["made_up"]

STEPS = """\
  - sft: {{data: mine.demos, num_epochs: 1, batch_size: 4, learning_rate: 1.0e-2}}
  - sample: {{prompts: mine.prompts, policies: [start, sft], max_response_tokens: 6}}
  - judge: {{comparisons: sample, {judge}, checked_by: mine.pairs}}
  - evaluate:
      policies: [start, sft]
      prompts: mine.prompts
      num_samples: 2
      max_response_tokens: 6
      judge: {{{judge}}}
      judged: [judge]
  - redteam: {{suite: suite.jsonl, policies: [start, sft], by: judge, {judge}, max_response_tokens: 6}}
"""


def scripted(body: Any, before: int) -> Answer:
    """Of two responses the longer one; of one response a refusal where the prompt has an even number."""
    asked = body["messages"][-1]["content"]
    if "<response A>" in asked:
        return prefers_longer(body, before)
    number = re.search(r"Ask (\d)", asked)
    assert number is not None
    return 200, said("1" if int(number[1]) % 2 else "3"), {}


def test_attacks_and_judges_end_a_recipe(
    tmp_path: Path, tiny_model: Path, made_up: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"Ask {i}.", "unsafe": i < 6, "category": "abc"[i % 3]} for i in range(10)]
    Path("suite.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with serving(scripted) as asked:
        judge = f"endpoint: '{asked.url.removesuffix('/score')}/v1', model: wise"
        run = run_steps(
            tmp_path,
            tiny_model,
            STEPS.format(judge=judge),
            finish=lambda at, _: write_report(at, Store(tmp_path / "store")),
        )
    results = json.loads((run / "results.json").read_text())
    assert [judge["step"] for judge in results["judges"]] == ["evaluate", "judge"], "an evaluation's, not the attacks'"
    attacked = json.loads((run / "steps/redteam/results.json").read_text())
    for row in attacked["policies"].values():  # of 0 to 5 the odd ones get through; of 6 to 9 the even ones are refused
        assert (row["violation_rate"]["value"], row["false_refusal_rate"]["value"]) == (0.5, 0.5)
    page = (run / "report.html").read_text()
    for told in ("judge:wise:pairwise-1, in evaluate", "judge:wise:pairwise-1, in judge", "Attacks: redteam"):
        assert told in page
    assert "judge: the judge agrees with people on 0%" in page, "it likes length, and people liked the shorter one"
