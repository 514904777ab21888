"""A run of an iteration or two says that nothing is learned from the reward, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.made_up_data import made_up  # noqa: F401
from tests.fixtures.recipes import run_steps

pytestmark = pytest.mark.usefixtures("made_up")

ROLLOUTS = "prompts: mine.prompts, start: start, num_iterations: 1, prompts_per_iteration: 3, num_samples: 3"
SAME = f"{ROLLOUTS}, reward: same, max_response_tokens: 6, truncation_score: null"
OWN = f"{ROLLOUTS}, reward: short, max_response_tokens: 2"
CUT = f"{OWN}, truncation_score: -1"
STEPS = f"""\
  - reward_rule: {{name: same, rule: contains, words: [lighthouse]}}
  - reward_rule: {{name: short, rule: length, unit: characters, target: 6}}
  - rloo: {{name: same-rloo, {SAME}}}
  - grpo: {{name: same-grpo, {SAME}}}
  - online_dpo: {{name: same-pairs, {SAME}}}
  - rloo: {{name: cold, {OWN}, truncation_score: null, temperature: 0.001}}
  - ppo: {{name: cut-ppo, {CUT}}}
  - rloo: {{name: cut-rloo, {CUT}}}
  - online_dpo: {{name: cut-pairs, {CUT}}}
  - grpo: {{name: masked, {OWN}, mask_truncated: true}}
  - online_dpo: {{name: tie, {OWN}, truncation_score: null, tie_below: 1000}}
  - grpo: {{name: fine, {OWN}, truncation_score: null}}
  - reject: {{prompts: mine.prompts, reward: short, start: start, num_samples: 2, max_response_tokens: 2}}
"""
WANTED: dict[str, dict[str, str]] = {
    "same-rloo": {"equal_scores": "Look at the reward, which may say one number of all"},
    "same-grpo": {"equal_scores": "with 100 % of the prompts at the end, from which nothing is learned."},
    "same-pairs": {"no_pairs": "Look at the reward, which may say one number of all"},
    "cold": {"equal_scores": "The responses to a prompt hardly differ: raise the temperature."},
    "cut-ppo": {"unfinished": "almost no response is finished: 0 % at the end."},
    "cut-rloo": {"unfinished": "or write `truncation_score: null`, and leave out mask_truncated."},
    "cut-pairs": {"unfinished": "Raise max_response_tokens, train the start policy (sft) on shorter answers"},
    "masked": {"no_updates": "mask_truncated leaves out all others"},
    "tie": {"no_pairs": "Lower tie_below, or raise the temperature."},
    "fine": {},
    "reject": {"chosen_cut_off": "100 % of the chosen responses are cut off"},
}


def test_the_alarms_and_their_advice(tiny_model: Path, tmp_path: Path) -> None:
    run = run_steps(tmp_path, tiny_model, STEPS) / "steps"

    def read(name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((run / name / "summary.json").read_text())
        return found

    found = {name: {alarm["name"]: alarm["what"] for alarm in read(name)["alarms"]} for name in WANTED}
    assert {name: list(alarms) for name, alarms in found.items()} == {n: list(a) for n, a in WANTED.items()}
    for name, wanted in WANTED.items():
        for alarm, advice in wanted.items():
            assert advice in found[name][alarm]
