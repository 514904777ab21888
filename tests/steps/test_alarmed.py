"""What is done about an alarm: refused where it cannot be, and done where it can, with the same bytes after a stop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from accord.errors import Interrupted, UserError
from accord.monitor import unstable
from accord.plan import Plan, make_plan
from accord.recipe import parse_recipe
from accord.steps.registry import STEPS
from tests.fixtures.made_up_data import made_up  # noqa: F401
from tests.fixtures.recipes import run_steps
from tests.fixtures.stopping import stoppable

pytestmark = pytest.mark.usefixtures("made_up")

RULES = """\
  - reward_rule: {name: rule, rule: length, target: 3}
  - reward_rule: {name: other, rule: distinct}
"""


def plan(model: Path, step: str, more: str = "") -> Plan:
    """Of a step on line 6."""
    text = f"model: {json.dumps(str(model))}\ndata: {{mine: builtin:made-up}}\nsteps:\n{RULES}  - {step}\n{more}"
    return make_plan(parse_recipe(text, Path("r.yaml")), STEPS)


ON_POLICY = "prompts: mine.prompts, reward: rule, truncation_score: null"
REFUSED = [
    # a name that is none, here or at all
    (f"rloo: {{{ON_POLICY}, alarms: {{kl_spice: stop}}}}", "rloo.alarms.kl_spice", "no alarm 'kl_spice'", "kl_spike"),
    (f"rloo: {{{ON_POLICY}, alarms: {{useless_value: stop}}}}", "rloo.alarms.useless_value", "of kind 'rloo'", ""),
    ("dpo: {data: mine.pairs, alarms: {endless: stop}}", "dpo.alarms.endless", "raises no alarm", "displacement"),
    ("sft: {data: mine.demos, alarms: {kl_spike: warn}}", "sft.alarms.kl_spike", "raises no alarm", "overfitting"),
    # an action that is none
    (f"ppo: {{{ON_POLICY}, alarms: halt}}", "ppo.alarms", "'warn', 'stop' or 'rollback'", ""),
    (f"ppo: {{{ON_POLICY}, alarms: {{endless: halt}}}}", "ppo.alarms", "'warn', 'stop' or 'rollback'", ""),
    # nothing to go back by
    (f"rloo: {{{ON_POLICY}, alarms: rollback}}", "rloo.alarms", "and nothing watches", "in `watch`, or write `stop`"),
    (
        f"rloo: {{{ON_POLICY}, alarms: {{endless: rollback}}}}",
        "rloo.alarms.endless",
        "and nothing watches",
        "Name a reward that nothing is trained against",
    ),
    (f"grpo: {{{ON_POLICY}, watch: [rule], alarms: rollback}}", "grpo.alarms", "by 'rule', which", "another"),
    ("dpo: {data: mine.pairs, alarms: rollback}", "dpo.alarms", "best on held-out data, and", "validation"),
    ("sft: {data: mine.demos, alarms: rollback}", "sft.alarms", "best on held-out data", "or write `stop`"),
    ("reward: {data: mine.pairs, alarms: {overfitting: rollback}}", "reward.alarms.overfitting", "held-out data", ""),
    # a policy that is broken
    (f"rloo: {{{ON_POLICY}, alarms: {{not_finite: stop}}}}", "rloo.alarms.not_finite", "are not kept", "rollback"),
    (
        "reward: {data: mine.pairs, members: 2, lora: {rank: 2}, alarms: stop}",
        "reward.alarms",
        "none is ended by an alarm",
        "Leave out alarms, or members",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("step", "where", "what", "remedy"), REFUSED, ids=[case[0] for case in REFUSED])
def test_refused(tiny_model: Path, step: str, where: str, what: str, remedy: str) -> None:
    if "lora" in step:
        pytest.importorskip("peft")
    with pytest.raises(UserError) as error:
        plan(tiny_model, step)
    assert error.value.where == f"r.yaml:6:{where}"
    assert what in error.value.what
    assert remedy in error.value.remedy


def test_the_line_of_the_alarm_is_named(tiny_model: Path) -> None:
    keys = (
        "      prompts: mine.prompts\n      reward: rule\n      alarms:\n        kl_spike: stop\n        endles: stop\n"
    )
    with pytest.raises(UserError, match="raises no alarm 'endles'") as error:
        plan(tiny_model, f"rloo:\n{keys}")
    assert error.value.where == "r.yaml:11:rloo.alarms.endles"
    assert "endless" in error.value.remedy


JUDGED = "  - evaluate: {policies: [start, POLICY], by: BY, prompts: mine.prompts}\n"


def test_who_chooses_does_not_judge(tiny_model: Path) -> None:
    """Not of the policy itself, and not of one that was trained from it."""
    step = f"rloo: {{{ON_POLICY}, watch: [other], alarms: rollback}}"
    more = "  - reward_rule: {name: third, rule: finished}\n  - sft: {data: mine.demos, start: rloo}\n" + JUDGED
    for policy in ("rloo", "sft"):
        with pytest.raises(UserError, match="'other' chooses the weights of 'rloo' in a rollback") as error:
            plan(tiny_model, step, more.replace("POLICY", policy).replace("BY", "other"))
        assert error.value.where == "r.yaml:9:evaluate.by"
    assert plan(tiny_model, step, more.replace("POLICY", "sft").replace("BY", "third"))
    warned = step.replace("rollback", "warn")
    assert plan(tiny_model, warned, more.replace("POLICY", "sft").replace("BY", "other")), "it only looks on"


KEYS = (
    "prompts: mine.prompts, start: start, reward: rule, watch: [other], watch_every: 1, truncation_score: null, "
    "prompts_per_iteration: 4, num_samples: 3, max_response_tokens: 4, learning_rate: 0.01"
)


@pytest.fixture
def clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The alarm `clipping` is given of any share of clipped tokens: of the fourth iteration, when a training may end
    for it."""
    monkeypatch.setattr(unstable, "CLIPPED", -1.0)


def train(folder: Path, model: Path, keys: str) -> Path:
    rules = (
        "  - reward_rule: {name: rule, rule: length, unit: characters, target: 6}\n"
        "  - reward_rule: {name: other, rule: length, unit: characters, target: 5}\n"
    )
    return run_steps(folder, model, f"{rules}  - rloo: {{{KEYS}, {keys}}}\n")


def read(run: Path, name: str) -> bytes:
    return (run / "steps" / "rloo" / name).read_bytes()


def summary_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(read(run, "summary.json"))
    return found


WEIGHTS = "model/model.safetensors"


@pytest.mark.usefixtures("clipped")
def test_warned_of_it_goes_on(tiny_model: Path, tmp_path: Path) -> None:
    summary = summary_of(train(tmp_path, tiny_model, "num_iterations: 6"))
    assert summary["num_iterations"] == 6
    assert "ended_by_alarm" not in summary
    assert [alarm["name"] for alarm in summary["alarms"]] == ["clipping"]


@pytest.mark.usefixtures("clipped")
def test_stopped_it_keeps_what_it_has(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(tmp_path / "stop", tiny_model, "num_iterations: 6, alarms: {clipping: stop}")
    summary = summary_of(run)
    assert summary["num_iterations"] == 4
    assert summary["ended_by_alarm"] == {"alarm": "clipping", "action": "stop", "after": 4}
    assert [alarm["name"] for alarm in summary["alarms"]] == ["clipping"]
    assert "ended after iteration 4 by the alarm clipping" in capsys.readouterr().out
    asked = train(tmp_path / "asked", tiny_model, "num_iterations: 4")
    assert read(run, WEIGHTS) == read(asked, WEIGHTS)


@pytest.mark.usefixtures("clipped")
def test_a_stop_at_the_end_is_none(tiny_model: Path, tmp_path: Path) -> None:
    summary = summary_of(train(tmp_path, tiny_model, "num_iterations: 4, alarms: stop"))
    assert "ended_by_alarm" not in summary


@pytest.mark.usefixtures("clipped")
@pytest.mark.parametrize("num", [6, 4])
def test_rolled_back_it_keeps_the_policy_that_the_watching_reward_liked_best(
    tiny_model: Path, tmp_path: Path, num: int
) -> None:
    """Also at the very end. What is measured in an iteration is the policy before its update."""
    run = train(tmp_path / "back", tiny_model, f"num_iterations: {num}, alarms: rollback")
    rows = [json.loads(line) for line in read(run, "metrics.jsonl").splitlines()]
    assert len(rows) == 4
    watched = [row["watch/other"] for row in rows]
    best = watched.index(max(watched))
    told = {"alarm": "clipping", "action": "rollback", "after": 4, "kept": best, "by": "watch/other"}
    assert summary_of(run)["ended_by_alarm"] == told
    if best == 0:
        pytest.fail("the start policy is the best: the test shows less than it could")
    asked = train(tmp_path / "asked", tiny_model, f"num_iterations: {best}")
    assert read(run, WEIGHTS) == read(asked, WEIGHTS)
    assert not list((tmp_path / "back" / "store").rglob("best"))


@pytest.mark.usefixtures("clipped")
@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_stopped_by_a_person_and_gone_on_with_it_ends_the_same(
    tiny_model: Path, tmp_path: Path, stop_after: int
) -> None:
    run = train(tmp_path, tiny_model, "num_iterations: 6, alarms: rollback")
    attempt = stoppable(run, "rloo", tmp_path)
    with pytest.raises(Interrupted):
        attempt(stop_after)
    out = attempt(None)
    for name in ("metrics.jsonl", "summary.json", WEIGHTS):
        assert (out / name).read_bytes() == read(run, name), name


def test_rejection_sampling_imitates_nothing_that_does_not_end(tiny_model: Path, tmp_path: Path) -> None:
    keys = "prompts: mine.prompts, reward: rule, start: start, num_samples: 2, max_response_tokens: 2"
    steps = f"{RULES}  - reject: {{{keys}, alarms: {{chosen_cut_off: stop}}}}\n"
    run = run_steps(tmp_path, tiny_model, steps) / "steps" / "reject"
    summary = json.loads((run / "summary.json").read_text())
    assert summary["ended_by_alarm"] == {"alarm": "chosen_cut_off", "action": "stop", "after": 0}
    kept, start = load_file(run / WEIGHTS), load_file(tiny_model / "model.safetensors")
    assert kept.keys() == start.keys()
    assert all(torch.equal(kept[name], start[name]) for name in start)
    with pytest.raises(UserError, match="something that is measured in between") as error:
        plan(tiny_model, f"reject: {{{keys}, alarms: rollback}}")
    assert error.value.where == "r.yaml:6:reject.alarms"
