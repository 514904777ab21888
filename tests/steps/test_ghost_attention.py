from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from accord.data.records import read_records
from accord.engine.rollout import roll_out
from accord.errors import Interrupted, UserError
from accord.estimate.check import check
from accord.models.policy import Policy
from accord.plan import Plan, make_plan
from accord.recipe import parse_recipe
from accord.results import write_report
from accord.steps import conversing
from accord.steps.registry import STEPS
from accord.store.artifacts import Store
from accord.store.workspace import Workspace
from accord.types import Message
from tests.fixtures.made_up_data import OPENINGS, made_up
from tests.fixtures.recipes import run_steps

__all__ = ["made_up"]

CONSTRAINTS = """\
- {kind: hobby, text: "Like tea.", check: {includes: tea}}
- {kind: style, text: "Write small.", check: {case: lower}}
- {kind: mood, text: "Be glad."}
"""
KEYS = "prompts: mine.prompts, constraints: own.yaml, num_turns: 2, max_response_tokens: 6, keep_truncated: true"
STEP = f"  - ghost_attention: {{{KEYS}}}\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made_up: str) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text(CONSTRAINTS)
    return tmp_path


def planned(keys: str) -> Plan:
    text = "model: smollm2-135m-instruct\ndata: {mine: builtin:made-up}\nsteps:\n"
    return make_plan(parse_recipe(text + f"  - ghost_attention: {{{keys}}}\n", Path("r.yaml")), STEPS)


def dialogues(step: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (step / "dialogues.jsonl").read_text().splitlines()]


def test_the_instruction_stands_in_every_turn_that_is_answered_and_in_the_first_that_is_imitated(
    folder: Path, tiny_model: Path
) -> None:
    run = run_steps(folder, tiny_model, STEP, "ghost_attention.temperature=0", "ghost_attention.num_dialogues=16")
    step = run / "steps/ghost_attention"
    rows = {row["id"]: row for row in dialogues(step)}
    assert len(rows) == 16
    policy = Policy.load(run / "steps/model/model")
    records = read_records(step / "train.jsonl", "demonstrations")
    summary = json.loads((step / "summary.json").read_text())
    assert summary["num_demonstrations"] == len(records) > 2
    for one in records:
        row = rows[one.prompt.id]
        first, second = row["turns"]
        (told, answer) = row["instruction"], row["answers"][0]
        assert [(m.role, m.content) for m in one.prompt.messages] == [
            ("user", f"{told}\n\n{first}"),
            ("assistant", answer),
            ("user", second),
        ]
        assert one.imitate_from is None, "the last turn alone is imitated"
        assert (one.prompt.prefill + one.response.text).strip() == row["answers"][1].strip()
        asked = (*one.prompt.messages[:2], Message("user", f"{told}\n\n{second}"))
        again = type(one.prompt)(one.prompt.id, asked, one.prompt.prefill)
        ((wrote,),) = roll_out(policy, [again], num_samples=1, max_response_tokens=6, temperature=0, key=(0,)).responses
        assert one.prompt.prefill + wrote.text == row["answers"][1], "answered with the instruction in front"
    assert any(one.prompt.prefill in OPENINGS for one in records)
    texts = {
        text
        for row in rows.values()
        for text in ("Like tea.", "Write small.", "Be glad.")
        if text in row["instruction"]
    }
    assert len(texts) == 3


def test_earlier_answers_are_context_for_supervised_fine_tuning(folder: Path, tiny_model: Path) -> None:
    sft = "  - sft: {data: ghost_attention, batch_size: 4, num_epochs: 1}\n"
    run = run_steps(folder, tiny_model, STEP + sft)
    template = Policy.load(run / "steps/model/model").template
    for one in read_records(run / "steps/ghost_attention/train.jsonl", "demonstrations"):
        tree = template.demonstration(one)
        assert tree.prompt_ids == template.prompt_ids(one.prompt), "nothing before the last answer is scored"
        assert tree.branches[0].scored is None
    assert (run / "steps/sft/model").is_dir()


def test_what_cannot_be_imitated_is_left_out_and_counted(folder: Path, tiny_model: Path) -> None:
    with pytest.raises(UserError, match=r"none of the 4 dialogues can be imitated: [0-9]+ truncated"):
        run_steps(
            folder, tiny_model, STEP, "ghost_attention.keep_truncated=false", "ghost_attention.max_response_tokens=1"
        )
    # Some dialogues of four turns have room in the model's 256 places, and some have not.
    run = run_steps(
        folder,
        tiny_model,
        STEP.replace("num_turns: 2", "num_turns: 4"),
        "ghost_attention.num_dialogues=20",
        "ghost_attention.max_response_tokens=25",
    )
    summary = json.loads((run / "steps/ghost_attention/summary.json").read_text())
    rows = dialogues(run / "steps/ghost_attention")
    assert summary["num_dialogues"] == len(rows) == 20
    reasons = [row["left_out"] for row in rows]
    assert summary["num_too_long"] == reasons.count("too_long") > 0
    assert summary["num_demonstrations"] == reasons.count(None) > 0
    assert sum(
        summary[f"num_{why}"] for why in ("truncated", "empty", "broken", "too_long", "with_control_tokens")
    ) == (20 - summary["num_demonstrations"])


def test_only_dialogues_that_hold_to_it_where_that_is_asked_for(folder: Path, tiny_model: Path) -> None:
    Path("own.yaml").write_text("- {kind: style, text: Write small., check: {case: lower}}")
    steps = STEP.replace("num_turns: 2", "num_dialogues: 24, num_turns: 2")
    run = run_steps(
        folder, tiny_model, steps, "ghost_attention.only_kept=true", "ghost_attention.num_constraints=[1,1]"
    )
    step = run / "steps/ghost_attention"
    summary, rows = json.loads((step / "summary.json").read_text()), dialogues(step)
    assert summary["num_broken"] == sum(row["left_out"] == "broken" for row in rows) > 0
    assert {row["kept"][-1] for row in rows if row["left_out"] is None} == {True}
    kept = [one for row in rows for one in row["kept"]]
    assert summary["kept"] == pytest.approx(sum(kept) / len(kept))
    assert summary["alarms"] == []


def test_answers_that_mostly_break_the_instruction_are_an_alarm(folder: Path, tiny_model: Path) -> None:
    Path("own.yaml").write_text("- {kind: hobby, text: Like tea., check: {includes: tea}}")
    run = run_steps(
        folder,
        tiny_model,
        STEP.replace("num_turns: 2", "num_dialogues: 12, num_turns: 2"),
        "ghost_attention.num_constraints=[1,1]",
        finish=lambda at, _: write_report(at, Store(folder / "store")),
    )
    (alarm,) = json.loads((run / "steps/ghost_attention/summary.json").read_text())["alarms"]
    assert alarm["name"] == "instruction_broken"
    assert "answers hold to the instruction that stands in front of them" in (run / "report.html").read_text()


def test_stopped_and_run_again_it_goes_on_to_the_same_files(
    folder: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversing, "CHUNK", 2)
    whole = run_steps(folder / "a", tiny_model, STEP) / "steps/ghost_attention"
    real, seen = Workspace.checkpoint_or_stop, []

    def stop(self: Workspace, iteration: int, make: object) -> None:
        if "ghost_attention-" in str(self.folder) and iteration in (1, 3) and iteration not in seen:
            seen.append(iteration)
            self._stop = lambda: True
        real(self, iteration, make)  # type: ignore[arg-type]

    monkeypatch.setattr(Workspace, "checkpoint_or_stop", stop)
    for _ in range(2):
        with pytest.raises(Interrupted):
            run_steps(folder / "b", tiny_model, STEP)
    again = run_steps(folder / "b", tiny_model, STEP) / "steps/ghost_attention"
    assert seen == [1, 3]
    for name in ("train.jsonl", "dialogues.jsonl", "summary.json"):
        assert (again / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize(
    ("keys", "where", "says"),
    [
        (
            "prompts: mine.prompts, constraints: builtin:tests",
            "r.yaml:4:ghost_attention",
            "Did you mean 'builtin:test'",
        ),
        ("prompts: mine.prompts, constraints: no.yaml", "r.yaml:4:ghost_attention", "no.yaml"),
        ("prompts: mine.prompts, constraints: bad.yaml", "r.yaml:4:ghost_attention", "bad.yaml:2"),
        (
            "prompts: mine.prompts, num_constraints: [5, 6]",
            "r.yaml:4:ghost_attention.num_constraints",
            "builtin:train has 4",
        ),
        (
            "prompts: mine.prompts, num_constraints: [2, 1]",
            "r.yaml:4:ghost_attention.num_constraints",
            "the fewest come first",
        ),
        ("prompts: mine.prompts, num_turns: 1", "r.yaml:4:ghost_attention.num_turns", "2"),
        ("prompts: mine.pairz", "r.yaml:4:ghost_attention.prompts", "mine.pair"),
    ],
)
def test_what_cannot_be_is_said_before_anything_runs(keys: str, where: str, says: str) -> None:
    Path("bad.yaml").write_text("- {kind: a, text: b}\n- {kind: a, text: b, chek: {}}\n")
    with pytest.raises(UserError) as caught:
        planned(keys)
    assert caught.value.where.startswith(where)
    assert says in str(caught.value)


def test_too_few_prompts_are_told_with_the_estimate_and_the_estimate_knows_what_is_written(
    folder: Path, tiny_model: Path
) -> None:
    text = f"model: {json.dumps(str(tiny_model))}\ndata: {{mine: builtin:made-up}}\nsteps:\n"
    sft = "  - sft: {data: ghost_attention, batch_size: 4, num_epochs: 1}\n"
    found = check(
        make_plan(parse_recipe(text + STEP + sft, Path("r.yaml")), STEPS), STEPS, Store(folder / "s"), timed=False
    )
    row, trained = found.estimate.rows[-2:]
    assert row.sampled == 8 * 6 - 8, "the first token of each comes from the prompt's pass"
    assert trained.trained > 0
    with pytest.raises(UserError, match=r"no dialogue of 9 turns can be made of the 8 prompts"):
        run_steps(folder, tiny_model, STEP.replace("num_turns: 2", "num_turns: 9"))
    nine = STEP.replace("num_turns: 2", "num_turns: 9")
    with pytest.raises(UserError, match=r"no dialogue of 9 turns"):
        check(make_plan(parse_recipe(text + nine, Path("r.yaml")), STEPS), STEPS, Store(folder / "s"), timed=False)
