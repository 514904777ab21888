"""Safety context distillation: what is asked again, what is kept, what is imitated, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from accord.data import catalog
from accord.data.records import write_records
from accord.errors import Interrupted, UserError
from accord.estimate.rows import Estimator
from accord.plan import Plan, make_plan
from accord.recipe import parse_recipe
from accord.steps.registry import STEPS
from accord.store.artifacts import Store
from accord.store.workspace import Workspace
from accord.sweep.names import is_count, logged_by
from accord.types import Message, Prompt
from tests.fixtures.made_up_data import made_up
from tests.fixtures.recipes import run_steps

__all__ = ["made_up"]

MODEL = "smollm2-135m-instruct"
TEMPLATES = """\
adjectives: [calm, kind]
generic: ["Be {adjective}."]
tailored:
  hateful: {templates: ["{category}, be {adjective}!"]}
  theft: {also: [stealing], templates: [Do not steal.]}
"""
# The logit of being safe of a text is 1 for each letter of it that is an a or an o, less 1.5.
RULES = "def safe(responses):\n    return [sum(text.count(x) for x in 'ao') - 1.5 for text in responses]\n"
REWARD = "  - reward_function: {name: safety, file: rules.py, function: safe, offset: 0.5, gain: -4}\n"
KEYS = (
    "prompts: mine.risky, reward: safety, calibration: {slope: 1}, templates: mine.yaml, num_samples: 3, end_at: e, "
    "max_response_tokens: 12, batch_size: 4, learning_rate: 1.0e-3"
)
KINDS = ("hateful", "Stealing", "", "theft", "hateful", "hateful", "theft", "", "theft", "hateful")
PROMPTS = {
    "risky": [Prompt(f"r{i}", (Message("user", f"Say {i}."),), "", kind) for i, kind in enumerate(KINDS)],
    "hidden": [Prompt(f"h{i}", (Message("user", f"Tell {i}."),), "", "theft") for i in range(5)],
    "border": [Prompt(f"b{i}", (Message("user", f"Kill process {i}?"),)) for i in range(7)],
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made_up: str) -> Path:
    """The made-up data has ten prompts more, of which two are no attacks; and held-out ones, and borderline ones."""
    monkeypatch.chdir(tmp_path)
    plain = catalog.BUILTIN["made-up"]

    def prepare(to: Path) -> None:
        plain.prepare(to)
        for name, some in PROMPTS.items():
            write_records(to / f"{name}.jsonl", "prompts", some)

    more = catalog.BuiltinData("made-up", "", "", {**plain.parts, **dict.fromkeys(PROMPTS, "prompts")}, prepare)
    monkeypatch.setitem(catalog.BUILTIN, "made-up", more)
    Path("rules.py").write_text(RULES)
    Path("mine.yaml").write_text(TEMPLATES)
    return tmp_path


def distill(more: str = "", keys: str = KEYS, before: str = REWARD) -> str:
    return f"{before}  - distill: {{{keys}{more}}}\n"


def planned(steps: str) -> Plan:
    text = f"model: {MODEL}\ndata: {{mine: builtin:made-up}}\nsteps:\n" + steps
    return make_plan(parse_recipe(text, Path("r.yaml")), STEPS)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def logit(text: str) -> float:
    return sum(text.count(x) for x in "ao") - 1.5


def made_by(folder: Path, model: Path, steps: str) -> Path:
    """The folder that the step wrote, and not the run's link to it, which the next run changes."""
    return (run_steps(folder, model, steps) / "steps/distill").resolve()


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


def test_demonstrations_are_imitated_too_in_their_share(folder: Path, tiny_model: Path) -> None:
    data = ", demonstrations: mine.demos"
    alone, whole, part = (
        made_by(folder, tiny_model, distill(more)) for more in ("", data, data + ", demonstrations_share: 0.4")
    )
    num = len(rows(alone / "best.jsonl"))
    assert "beside" not in read(alone / "summary.json")["training"]
    assert read(whole / "summary.json")["training"]["beside"]["num_demonstrations"] == 8
    share = read(part / "summary.json")["training"]["beside"]["num_demonstrations"]
    assert share == round(num * 0.4 / 0.6) > 0
    assert rows(part / "metrics.jsonl")[-1]["num_examples"] == num + share


AFTER = -1


def stopped(
    folder: Path, model: Path, steps: str, monkeypatch: pytest.MonkeyPatch, *stops: int
) -> tuple[Path, int, list[str]]:
    """The step's folder, after stops at the numbers of times that it asks whether to, or (AFTER) once the policy is
    trained; how often it asked in all; and the stages in which it was stopped."""
    asks, stages, left = 0, list[str](), list(stops)

    def asked(work: Workspace) -> bool:
        nonlocal asks
        if not work.folder.name.startswith("distill"):
            return False
        asks += 1
        hit = bool(left) and ((work.out / "model").is_dir() if left[0] == AFTER else asks == left[0])
        return hit and bool(left.pop(0))

    monkeypatch.setattr(Workspace, "stop_requested", asked)
    for _ in stops:
        with pytest.raises(Interrupted):
            run_steps(folder, model, steps)
        *_, last = sorted((folder / "store/work").glob("distill-*/checkpoints/0*"))
        stages.append(read(last / "state.json").get("stage", "training"))
    return made_by(folder, model, steps), asks, stages


def assert_same(first: Path, second: Path) -> None:
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
    for path in files:
        if path.name != "manifest.json":
            assert (first / path).read_bytes() == (second / path).read_bytes(), path


def test_it_goes_on_where_it_was(folder: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accord.steps.asked.CHUNK", 4)
    steps = distill(", num_epochs: 3", KEYS.replace("batch_size: 4", "batch_size: 1"))
    whole, num, _ = stopped(folder / "whole", tiny_model, steps, monkeypatch)
    again, more, stages = stopped(folder / "again", tiny_model, steps, monkeypatch, 2, 9, num - 8)
    assert stages == ["asking", "asking", "training"]
    assert more < num + num // 2, "what was asked is not asked again"
    assert_same(whole, again)


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


def estimated(folder: Path, model: Path, steps: str) -> Any:
    text = f"model: {json.dumps(str(model))}\ndata: {{mine: builtin:made-up}}\nsteps:\n{steps}"
    plan = make_plan(parse_recipe(text, Path("r.yaml")), STEPS)
    return Estimator(plan, STEPS, Store(folder / "store")).works["distill"]


def test_the_work_is_estimated(folder: Path, tiny_model: Path) -> None:
    work = estimated(folder, tiny_model, distill())
    responses = 8 * (1 + 2 * 3 + 2)  # one, three with each of two preprompts, one before and one after
    assert work.tokens("decode") == pytest.approx(responses * 11)
    assert work.tokens("train") > 0


def test_nothing_to_distil_and_nothing_kept(folder: Path, tiny_model: Path) -> None:
    with pytest.raises(UserError, match=r"distill.below: all 8 original answers are safe with a probability of 1e-09"):
        run_steps(folder, tiny_model, distill(", below: 1.0e-9"))
    with pytest.raises(UserError, match=r"no response is kept: \d+ not better, \d+ truncated, 0 empty"):
        run_steps(folder, tiny_model, distill(", margin: 100"))


def test_what_the_templates_say_and_not_their_file_is_the_key() -> None:
    key = planned(distill()).step("distill").config.fingerprint  # type: ignore[attr-defined]
    Path("same.yaml").write_text("# A comment.\n" + TEMPLATES)
    same = planned(distill(keys=KEYS.replace("mine.yaml", "same.yaml"))).step("distill")
    assert same.config.fingerprint == key  # type: ignore[attr-defined]
    Path("mine.yaml").write_text(TEMPLATES.replace("calm", "quiet"))
    assert planned(distill()).step("distill").config.fingerprint != key  # type: ignore[attr-defined]


LOOKED_AT = ", held_out: mine.hidden, borderline: mine.border"


def test_before_and_after_are_measured_on_the_same_draws(folder: Path, tiny_model: Path) -> None:
    at = made_by(folder, tiny_model, distill(LOOKED_AT + ", num_epochs: 20", KEYS.replace("1.0e-3", "1.0e-2")))
    answers, tried, found = rows(at / "answers.jsonl"), rows(at / "tried.jsonl"), read(at / "results.json")
    sets = {name: [row for row in answers if row["set"] == name] for name in ("asked_again", "held_out", "borderline")}
    assert [row["id"] for row in sets["asked_again"]] == [row["id"] for row in tried]
    assert [len(sets[name]) for name in ("held_out", "borderline")] == [5, 7]
    assert any(row["before"] != one["original"] for row, one in zip(sets["asked_again"], tried, strict=True)), (
        "the answer that a prompt was chosen by is none to measure by"
    )
    for name in ("asked_again", "held_out"):
        for row in sets[name]:
            assert (row["before_safety"], row["after_safety"]) == (logit(row["before"]), logit(row["after"]))
        for when in ("before", "after"):
            mean = sum(row[f"{when}_safety"] for row in sets[name]) / len(sets[name])
            assert found["safety"][name][when]["value"] == pytest.approx(mean)
            assert found["scores"][name][when] == [row[f"{when}_safety"] for row in sets[name]]
    assert any(row["before"] != row["after"] for row in answers)
    kept = [row for row, one in zip(sets["asked_again"], tried, strict=True) if one["outcome"] == "kept"]
    assert found["safety"]["distilled"]["num"] == len(kept)
    gain = sum(row["after_safety"] - row["before_safety"] for row in kept) / len(kept)
    assert found["safety"]["distilled"]["difference"]["value"] == pytest.approx(gain)
    assert found["false_refusals"] | {"before": 0, "after": 0} == {
        "by": "phrases-1",
        "num": 7,
        "num_unknown": 0,
        "before": 0,
        "after": 0,
        "newly_refused": 0,
        "newly_answered": 0,
        "p_value": 1.0,
    }
    assert all("before_safety" not in row for row in sets["borderline"])
    assert [point["kept"] for point in found["points"]].count(True) == len(kept)
    assert found["contexts"].keys() == {"none", "generic", "tailored"}
    summary = read(at / "summary.json")
    assert summary["held_out"] == {
        "num_prompts": 5,
        "num_also_distilled": 0,
        "num_too_long": 0,
        "num_with_control_tokens": 0,
    }
    assert summary["safety"]["held_out"]["after"] == found["safety"]["held_out"]["after"]["value"]
    names = logged_by(planned(distill(LOOKED_AT)).step("distill")) or frozenset()
    numbers = {f"safety.{name}.{key}" for name, row in summary["safety"].items() for key in row}
    assert numbers | {f"false_refusals.{key}" for key in summary["false_refusals"]} <= names


def test_a_policy_that_hardly_changes_says_the_same(folder: Path, tiny_model: Path) -> None:
    at = made_by(folder, tiny_model, distill(LOOKED_AT, KEYS.replace("1.0e-3", "1.0e-12")))
    assert all(row["before"] == row["after"] for row in rows(at / "answers.jsonl"))
    assert read(at / "summary.json")["alarms"] == []
    assert read(at / "results.json")["safety"]["held_out"]["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_held_out_prompts_that_are_distilled_are_left_out(folder: Path, tiny_model: Path) -> None:
    PROMPTS["both"] = [*PROMPTS["hidden"][:2], *PROMPTS["risky"]]
    try:
        catalog.BUILTIN["made-up"].parts["both"] = "prompts"  # type: ignore[index]
        at = made_by(folder, tiny_model, distill(", held_out: mine.both"))
    finally:
        del PROMPTS["both"]
    told = read(at / "summary.json")
    assert told["held_out"]["num_also_distilled"] == told["num_tried"] > 0
    assert told["held_out"]["num_prompts"] == 12 - told["num_tried"]


def test_by_kl_the_student_comes_nearer_to_the_teacher_with_the_preprompt(folder: Path, tiny_model: Path) -> None:
    keys = KEYS.replace("learning_rate: 1.0e-3", "learning_rate: 1.0e-2").replace("batch_size: 4", "batch_size: 16")
    steps = distill(", how: kl, demonstrations: mine.demos, num_epochs: 30, warmup: 0", keys)
    at = made_by(folder, tiny_model, steps)
    metrics, summary = rows(at / "metrics.jsonl"), read(at / "summary.json")
    names = logged_by(planned(steps).step("distill")) or frozenset()
    assert {name for name in metrics[0] if not is_count(name)} <= names
    assert "mean_token_accuracy" not in names
    assert metrics[-1]["loss"] < 0.7 * metrics[0]["loss"]
    kept = summary["num_kept"]
    assert summary["training"] == {
        "num_demonstrations": kept,
        "num_optimizer_steps": 30,
        "beside": {"num_demonstrations": 8, "num_too_long": 0, "num_unusable": 0},
    }
    work = estimated(folder, tiny_model, steps)
    plain = estimated(folder, tiny_model, steps.replace("how: kl", "how: sft"))
    assert work.tokens("forward") > plain.tokens("forward")


def test_by_kl_it_goes_on_where_it_was(folder: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accord.steps.asked.CHUNK", 4)
    steps = distill(LOOKED_AT + ", how: kl, num_epochs: 3", KEYS.replace("batch_size: 4", "batch_size: 1"))
    whole, num, _ = stopped(folder / "whole", tiny_model, steps, monkeypatch)
    again, _, stages = stopped(folder / "again", tiny_model, steps, monkeypatch, 2, num - 12, AFTER)
    assert stages == ["asking", "training", "after"]
    assert_same(whole, again)


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
