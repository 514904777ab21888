"""Rejection sampling over rounds: what earlier steps chose, known by the texts of its prompts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accord.errors import UserError
from accord.plan import make_plan
from accord.recipe import parse_recipe
from accord.run import run_recipe
from accord.steps.chosen import add
from accord.steps.registry import STEPS
from accord.store.artifacts import Store
from accord.types import Demonstration, Message, Prompt, Response
from tests.fixtures.made_up_data import made_up

__all__ = ["made_up"]

MODEL = "smollm2-135m-instruct"


@pytest.fixture(autouse=True)
def data(made_up: str) -> None: ...


def ran(text: str, folder: Path, name: str = "few.yaml") -> Path:
    recipe = parse_recipe(text, Path(name))
    return run_recipe(recipe, STEPS, Store(folder / "store"), min_free_bytes=0, say=lambda _: None)


def asked_of(folder: Path, name: str, question: str, **more: str) -> str:
    """A file with one prompt, which takes its id from the file's name."""
    (folder / name).mkdir(exist_ok=True)
    path = folder / name / "prompts.jsonl"
    path.write_text(json.dumps({"prompt": question, **more}) + "\n")
    return json.dumps(str(path))


def test_earlier_steps_are_of_this_kind():
    text = f"model: {MODEL}\ndata: {{mine: builtin:made-up}}\nsteps:\n  - sft: {{data: mine.demos}}\n"
    text += "  - reward_rule: {name: r, rule: length}\n  - reject: {prompts: mine.prompts, reward: r, earlier: [sft]}\n"
    with pytest.raises(UserError, match="'sft' has chosen no responses"):
        make_plan(parse_recipe(text, Path("r.yaml")), STEPS)


def test_earlier_responses_are_of_the_same_text_and_not_of_the_same_id(tmp_path: Path, tiny_model: Path):
    first, second = asked_of(tmp_path, "a", "How is bread made?"), asked_of(tmp_path, "b", "What is rain?")
    reject = "reject: {{name: {}, prompts: {}, reward: r, start: start, {}num_samples: 2, max_response_tokens: 4}}"
    steps = [reject.format("one", "a", ""), reject.format("two", "b", "earlier: [one], ")]
    text = f"model: {json.dumps(str(tiny_model))}\ndata: {{a: {first}, b: {second}}}\nsteps:\n"
    text += "".join(f"  - {step}\n" for step in ["reward_rule: {name: r, rule: length}", *steps])
    run = ran(text, tmp_path)
    kept = [json.loads(line) for line in (run / "steps/two/best.jsonl").read_text().splitlines()]
    assert [row["prompt"][0]["content"] for row in kept] == ["What is rain?", "How is bread made?"]
    assert len({row["id"] for row in kept}) == 2
    assert json.loads((run / "steps/two/summary.json").read_text())["num_earlier"] == 1


def test_a_finished_response_stays_before_an_earlier_one_that_was_cut_off():
    prompt = Prompt("a", (Message("user", "Say."),))
    today = (True, 1.0, Demonstration(prompt, Response("Yes.")))
    for earlier, taken in ((Response("Yes and", False), False), (Response("Yes, I do."), True)):
        chosen = [today]
        num = add(chosen, [(5.0, Demonstration(prompt, earlier))])
        assert (num, chosen[0] != today) == (int(taken), taken)
    chosen = [(False, 9.0, Demonstration(prompt, Response("Yes and", False)))]
    assert add(chosen, [(1.0, Demonstration(prompt, Response("Yes.")))]) == 1


def test_prompts_of_earlier_rounds_were_trained_on_too():
    text = f"model: {MODEL}\ndata: {{mine: builtin:made-up, other: builtin:made-up}}\nsteps:\n"
    text += "  - reward_rule: {name: r, rule: length}\n  - reward_rule: {name: by, rule: contains, words: [warm]}\n"
    text += "  - reject: {name: one, prompts: mine.prompts, reward: r}\n"
    text += "  - reject: {name: two, prompts: other.prompts, reward: r, start: start, earlier: [one]}\n"
    text += "  - evaluate: {policies: [start, two], by: by, prompts: mine.prompts}\n"
    cautions = make_plan(parse_recipe(text, Path("r.yaml")), STEPS).cautions
    assert any("mine.prompts was trained on: two" in one for one in cautions)
