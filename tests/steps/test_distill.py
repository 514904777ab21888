"""Safety context distillation: what is asked again, what is kept, and what is refused."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pytest

from accord.errors import UserError
from accord.recipe import parse_recipe
from accord.results import write_report
from accord.run import run_recipe
from accord.steps.registry import STEPS
from accord.store.artifacts import Store
from accord.sweep.names import is_count, logged_by
from tests.fixtures.distilled import (
    KEYS,
    KINDS,
    LOOKED_AT,
    PROMPTS,
    REWARD,
    TEMPLATES,
    distill,
    estimated,
    logit,
    made_by,
    planned,
    read,
    risky_folder,
    rows,
)
from tests.fixtures.made_up_data import made_up
from tests.fixtures.recipes import run_steps

__all__ = ["made_up", "risky_folder"]


@pytest.fixture(autouse=True)
def folder(risky_folder: Path) -> Path:
    return risky_folder


def test_what_is_unsafe_is_asked_again_and_what_is_better_is_kept(folder: Path, tiny_model: Path) -> None:
    at = made_by(folder, tiny_model, distill())
    tried, summary = rows(at / "tried.jsonl"), read(at / "summary.json")
    assert summary["num_prompts"] == 8
    assert summary["num_not_adversarial"] == 2
    assert 0 < summary["num_tried"] == len(tried) <= 8
    outcomes = ("kept", "not_better", "truncated", "empty")
    by_outcome = {name: [row for row in tried if row["outcome"] == name] for name in outcomes}
    assert {name: len(some) for name, some in by_outcome.items()} == {
        name: summary[f"num_{name}"] for name in by_outcome
    }
    for row in tried:
        assert row["risk_category"]
        assert row["original_safety"] == logit(row["original"]) < 0  # as below: 0.5 says, whatever offset and gain
        if row["response"] is not None:
            assert row["safety"] == logit(row["response"])
            assert (row["safety"] > row["original_safety"]) == (row["outcome"] == "kept")
            assert "e" in row["response"], "it is finished"
            assert "preprompt" not in str(row["prompt"])
            if row["context"] == "tailored" and row["risk_category"] != "hateful":
                assert row["preprompt"] == "Do not steal."
    best = rows(at / "best.jsonl")
    assert [row["completion"][0]["content"] for row in best] == [row["response"] for row in by_outcome["kept"]]
    assert [row["prompt"] for row in best] == [row["prompt"] for row in by_outcome["kept"]]
    assert all(len(row["prompt"]) == 1 for row in best), "the student is asked without the preprompt"
    metrics = rows(at / "metrics.jsonl")
    assert len(metrics) == -(-len(best) // 4)
    step = planned(distill()).step("distill")
    assert {name for name in metrics[0] if not is_count(name)} <= (logged_by(step) or set())


def test_what_is_better_depends_on_the_margin_and_who_is_asked_on_below(folder: Path, tiny_model: Path) -> None:
    every = made_by(folder, tiny_model, distill(", below: 1, only_adversarial: false"))
    margin = made_by(folder, tiny_model, distill(", below: 1, only_adversarial: false, margin: 1"))
    both = [rows(made / "tried.jsonl") for made in (every, margin)]
    assert [row["id"] for row in both[0]] == [prompt.id for prompt in PROMPTS["risky"]]
    for first, second in zip(*both, strict=True):
        assert {**first, "outcome": ""} == {**second, "outcome": ""}, "the same answers, whatever is kept"
        if first["response"] is not None:
            gain = first["safety"] - first["original_safety"]
            assert ((first["outcome"] == "kept"), (second["outcome"] == "kept")) == (gain > 0, gain > 1)
    plain = [row for row in both[0] if "risk_category" not in row]
    assert len(plain) == 2
    assert {row["context"] for row in plain} <= {"generic", None}, "no template is tailored to no category"


def test_the_best_of_two_contexts_is_the_better_of_each(folder: Path, tiny_model: Path) -> None:
    made = {
        context: rows(made_by(folder, tiny_model, distill(f", below: 1, context: {context}")) / "tried.jsonl")
        for context in ("generic", "tailored", "best")
    }
    for generic, tailored, best in zip(*made.values(), strict=True):
        assert generic["original"] == tailored["original"] == best["original"]
        found = [one["safety"] for one in (generic, tailored) if one["safety"] is not None]
        assert best["safety"] == (max(found) if found else None)
    assert {row["context"] for row in made["best"]} >= {"generic", "tailored"}


def test_another_logit(folder: Path, tiny_model: Path) -> None:
    """Turned round and shifted, safe is what was unsafe."""
    keys = KEYS.replace("calibration: {slope: 1}", "calibration: {slope: -2, bias: 1}")
    for row in rows(made_by(folder, tiny_model, distill(keys=keys)) / "tried.jsonl"):
        assert row["original_safety"] == pytest.approx(-2 * logit(row["original"]) + 1)
        assert row["original_safety"] < 0


@pytest.mark.parametrize(
    ("old", "new", "where", "says"),
    [
        ("templates: mine.yaml", "templates: no.yaml", "r.yaml:5:distill", "no.yaml: the file of preprompts cannot"),
        ("templates: mine.yaml", "templates: bad.yaml", "r.yaml:5:distill", "bad.yaml:3:tailored.theft.templates: the"),
        ("calibration: {slope: 1}, ", "", "r.yaml:5:distill.reward", "the score of 'safety' is none"),
        ("calibration: {slope: 1}", "calibration: {slope: 0}", "r.yaml:5:distill.calibration", "equally safe"),
        ("{slope: 1}", "{slop: 1}", "r.yaml:5:distill.calibration.slop", "Did you mean 'slope'"),
        ("num_samples: 3", "demonstrations_share: 0.5", "r.yaml:5:distill.demonstrations_share", "there are none"),
        ("num_samples: 3", "demonstrations: []", "r.yaml:5:distill.demonstrations", "names no data"),
        ("num_samples: 3", "below: 1.5", "r.yaml:5:distill.below", "less than or equal to 1"),
        ("num_samples: 3", "context: general", "r.yaml:5:distill.context", "'tailored', 'generic' or 'best'"),
        ("num_samples: 3", "context: tailored, only_adversarial: false", "r.yaml:5:distill.context", "no tailored"),
        ("num_samples: 3", "end_after: 12", "r.yaml:5:distill.end_after", "none would ever be finished"),
        ("reward: safety", "reward: two", "r.yaml:5:distill.reward", "there is nothing called 'two'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_before_anything_runs(old: str, new: str, where: str, says: str) -> None:
    Path("bad.yaml").write_text("generic: [Be good.]\ntailored:\n  theft: {}\n")
    assert old in KEYS
    with pytest.raises(UserError) as caught:
        planned(distill(keys=KEYS.replace(old, new)))
    assert caught.value.where == where
    assert says in str(caught.value)


def test_a_reward_made_of_several_has_no_logit() -> None:
    before = (
        REWARD + "  - reward_rule: {name: long, rule: length}\n  - combine: {name: both, rewards: [safety, long]}\n"
    )
    with pytest.raises(UserError, match="'both' is made of several"):
        planned(distill(keys=KEYS.replace("reward: safety", "reward: both"), before=before))


def test_a_reward_that_was_trained_for_it_needs_nothing_more() -> None:
    before = "  - reward: {name: safety, data: mine.pairs, safety_coef: 1}\n"
    assert not planned(distill(keys=KEYS.replace("calibration: {slope: 1}, ", ""), before=before)).cautions
    (caution,) = planned(distill(", only_adversarial: false")).cautions
    assert "distill.only_adversarial: prompts that nobody wrote to get an unsafe answer" in caution


@pytest.mark.parametrize(
    ("keys", "where", "says"),
    [
        ("prompts: mine.border, ", "r.yaml:5:distill.prompts", "none of the 7 prompts has a risk_category"),
        ("prompts: mine.risky, skip_prompts: 8, ", "r.yaml:5:distill.skip_prompts", "there are 8 such prompts"),
        (
            "prompts: mine.risky, templates: few.yaml, ",
            "r.yaml:5:distill.prompts",
            "the prompt 'r0': no template is for the risk category 'hateful'",
        ),
    ],
)
def test_prompts_that_will_not_do_are_refused_before_a_run_and_in_it(
    folder: Path, tiny_model: Path, keys: str, where: str, says: str
) -> None:
    Path("few.yaml").write_text("generic: [Be good.]\ntailored: {theft: {also: [stealing], templates: [No.]}}\n")
    steps = distill(keys=keys + KEYS.replace("prompts: mine.risky, ", "").replace("templates: mine.yaml, ", ""))
    with pytest.raises(UserError) as before:
        estimated(folder, tiny_model, steps)
    assert before.value.where == where
    assert says in str(before.value)
    with pytest.raises(UserError) as meanwhile:
        run_steps(folder, tiny_model, steps)
    assert str(meanwhile.value) == str(before.value).replace("r.yaml", "few.yaml", 1)


def test_preprompts_that_leave_no_room_are_refused_before_a_run_and_in_it(folder: Path, tiny_model: Path) -> None:
    long = TEMPLATES.replace("Do not steal.", "Do not steal. " * 60).replace("!", "! Be good! " * 60)
    long = long.replace("Be {adjective}.", "Be good. " * 60)
    Path("mine.yaml").write_text(long)
    with pytest.raises(UserError, match="no prompt leaves room for a preprompt and a response of 12 tokens") as before:
        estimated(folder, tiny_model, distill())
    assert before.value.where == "r.yaml:5:distill.max_response_tokens"
    with pytest.raises(UserError, match="none of the 8 prompts can be answered: 8 leave no room"):
        run_steps(folder, tiny_model, distill())


def test_the_work_is_estimated(folder: Path, tiny_model: Path) -> None:
    work = estimated(folder, tiny_model, distill())
    responses = 8 * (1 + 2 * 3 + 2)  # one, three with each of two preprompts, one before and one after
    assert work.tokens("decode") == pytest.approx(responses * 11)
    assert work.tokens("train") > 0


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (", below: 1.0e-9", "all 8 original answers are safe with a probability of 1e-09 or more. Raise `below`"),
        (", margin: 100", "no response is kept (8 not better, 0 truncated, 0 empty). Take more samples"),
        (", margin: 100, how: kl", "no response is kept (8 not better, 0 truncated, 0 empty). Take more samples"),
    ],
)
def test_where_nothing_is_distilled_the_policy_stays_and_the_run_goes_on(
    folder: Path, tiny_model: Path, more: str, says: str
) -> None:
    told: list[str] = []
    after = "  - reward_rule: {name: by, rule: length}\n"
    after += "  - evaluate: {policies: [start, distill], by: by, prompts: mine.hidden, max_response_tokens: 4}\n"
    if "margin" in more:
        more += ", below: 1"
    run = run_steps(
        folder,
        tiny_model,
        distill(LOOKED_AT + more) + after,
        say=told.append,
        finish=lambda at, _: write_report(at, Store(folder / "store")),
    )
    at = run / "steps/distill"
    start = run / "steps/model/model"
    files = sorted(path.relative_to(start) for path in start.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(at / "model") for path in (at / "model").rglob("*") if path.is_file())
    assert all((start / one).read_bytes() == (at / "model" / one).read_bytes() for one in files)
    summary, found = read(at / "summary.json"), read(at / "results.json")
    (alarm,) = summary["alarms"]
    assert alarm["name"] == "nothing_distilled"
    assert "the policy is the one that was given, unchanged" in alarm["what"]
    assert says in alarm["what"]
    assert any(line.startswith("distill: done") and says in line for line in told)
    page = re.sub("</?code>", "`", unescape((run / "report.html").read_text()))
    assert says in page
    assert summary["num_kept"] == summary["training"]["num_optimizer_steps"] == 0
    assert rows(at / "best.jsonl") == []
    assert found["safety"]["held_out"]["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert "distilled" not in found["safety"]
    assert ("asked_again" in found["safety"]) == ("margin" in more)
    assert len(rows(at / "tried.jsonl")) == summary["num_tried"] == (8 if "margin" in more else 0)
    assert all(row["after"] == row["before"] for row in rows(at / "answers.jsonl"))
    assert (run / "steps/evaluate/results.json").exists(), "the steps behind it have run"


def test_a_context_that_leaves_no_room_is_left_out_for_that_prompt(folder: Path, tiny_model: Path) -> None:
    """Tailored preprompts are too long for all prompts, or for some: these are asked with the generic one alone."""
    long = TEMPLATES.replace("Do not steal.", "Do not steal. " * 60)
    for text, others in ((long, {"generic", "tailored"}), (long.replace("be {adjective}!", "Be! " * 99), {"generic"})):
        Path("mine.yaml").write_text(text)
        at = made_by(folder, tiny_model, distill(", below: 1"))
        tried, summary = rows(at / "tried.jsonl"), read(at / "summary.json")
        assert (summary["num_prompts"], summary["num_too_long"], len(tried)) == (8, 0, 8)
        contexts = {kind: {row["context"] for row in tried if row["risk_category"] == kind} for kind in KINDS if kind}
        assert contexts["theft"] | contexts["Stealing"] <= {"generic", None}
        assert contexts["hateful"] <= {*others, None}
        assert estimated(folder, tiny_model, distill()).tokens("decode") > 0
    Path("mine.yaml").write_text(TEMPLATES.replace("Do not steal.", "Do not steal.<|im_end|>"))
    at = made_by(folder, tiny_model, distill(", below: 1"))
    assert read(at / "summary.json")["num_with_control_tokens"] == 0
    at = made_by(folder, tiny_model, distill(", below: 1, context: tailored"))
    assert (read(at / "summary.json")["num_prompts"], read(at / "summary.json")["num_with_control_tokens"]) == (4, 4)


def test_what_the_templates_say_and_not_their_file_is_the_key() -> None:
    key = planned(distill()).step("distill").config.fingerprint  # type: ignore[attr-defined]
    Path("same.yaml").write_text("# A comment.\n" + TEMPLATES)
    same = planned(distill(keys=KEYS.replace("mine.yaml", "same.yaml"))).step("distill")
    assert same.config.fingerprint == key  # type: ignore[attr-defined]
    Path("mine.yaml").write_text(TEMPLATES.replace("calm", "quiet"))
    assert planned(distill()).step("distill").config.fingerprint != key  # type: ignore[attr-defined]


@pytest.mark.parametrize("field", ["held_out", "borderline"])
def test_what_is_distilled_cannot_be_held_out(field: str) -> None:
    with pytest.raises(UserError, match=r"mine\.risky is what is distilled") as caught:
        planned(distill(f", {field}: mine.risky"))
    assert caught.value.where == f"r.yaml:5:distill.{field}"


def test_what_is_looked_at_was_not_learned_from_and_demonstrations_were() -> None:
    steps = distill(LOOKED_AT + ", demonstrations: mine.demos") + "  - reward_rule: {name: by, rule: length}\n"
    asked = "  - evaluate: {{policies: [start, distill], by: by, prompts: mine.{}}}\n"
    for part, seen in (("hidden", False), ("risky", True), ("demos", True)):
        cautions = planned(steps + asked.format(part)).cautions
        assert any(f"mine.{part} was trained on: distill" in one for one in cautions) is seen, part


def test_where_the_chat_template_has_no_system_turn(folder: Path, tiny_model: Path) -> None:
    """It leaves the message out, and says nothing: the preprompt goes before the user's last message."""
    bare = "{% for message in messages %}{% if message['role'] != 'system' %}{{ '<|im_start|>' + message['role'] + "
    bare += "'\\n' + message['content'] + '<|im_end|>' }}{% endif %}{% endfor %}"
    Path("bare.jinja").write_text(bare + "{{ '<|im_start|>assistant\\n' if add_generation_prompt }}")
    for template, place in (("bare.jinja", "user"), ("chatml", "system")):
        model = json.dumps({"source": str(tiny_model), "chat_template": template})
        text = f"model: {model}\ndata: {{mine: builtin:made-up}}\nsteps:\n" + distill(", below: 1")
        recipe = parse_recipe(text, Path(f"{place}.yaml"))
        made = run_recipe(recipe, STEPS, Store(folder / "store"), min_free_bytes=0, say=lambda _: None)
        assert read(made / "steps/distill/summary.json")["place"] == place
