"""Ensembles on one backbone: what they write, what others read in it, and what a stop does not change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from accord.api.models import load_reward as api_load
from accord.errors import Interrupted, UserError
from accord.models import compute
from accord.plan import make_plan
from accord.recipe import parse_recipe
from accord.rewards.ensembles import EnsembleReward
from accord.rewards.loading import artifact_reward, learned_folder, load_reward
from accord.run import _input
from accord.steps.base import Job
from accord.steps.registry import STEPS
from accord.store.artifacts import Store
from accord.store.workspace import Workspace
from accord.types import Message, Prompt, Response
from tests.fixtures.made_up_data import made_up
from tests.fixtures.recipes import run_steps

__all__ = ["made_up"]

PROMPT = Prompt("a", (Message("user", "Write a line of a film review."),))
RESPONSES = [Response("It is warm."), Response("A dull plot, and a worse ending.")]
KEYS = "name: judges, data: mine.pairs, members: 3, lora: {rank: 4}, learning_rate: 3e-3, batch_size: 2, num_epochs: 2"
STEP = f"  - reward: {{{KEYS}, combine: worst, member_share: 0.75}}\n"


@pytest.fixture(autouse=True)
def data(made_up: str) -> None: ...


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def load(run: Path, dtype: torch.dtype = torch.float32) -> EnsembleReward:
    artifact = Store(run.parents[1]).at(run / "steps/judges")
    assert artifact is not None
    reward = artifact_reward(artifact, dtype)
    assert isinstance(reward, EnsembleReward)
    return reward


def test_each_member_is_what_peft_opens(tmp_path: Path, tiny_model: Path):
    run = run_steps(tmp_path, tiny_model, STEP)
    folder, reward = run / "steps/judges", load(run)
    members = reward.members([PROMPT], [RESPONSES])
    tokenizer = AutoTokenizer.from_pretrained(folder / "base")
    for number, scores in enumerate(members.tolist()):
        own = folder / f"member-{number}"
        config = json.loads((own / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == "../base"
        said = json.loads((own / "member.json").read_text())["normalisation"]
        plain = AutoModelForSequenceClassification.from_pretrained(folder / "base", num_labels=1)
        theirs = PeftModel.from_pretrained(plain, own).eval()
        for response, score in zip(RESPONSES, scores, strict=True):
            text = [{"role": "user", "content": PROMPT.messages[0].content}]
            text.append({"role": "assistant", "content": response.text})
            ids = tokenizer.apply_chat_template(text, return_tensors="pt", return_dict=True)["input_ids"]
            with torch.no_grad():
                raw = theirs(input_ids=ids).logits.item()
            assert score == pytest.approx(said["gain"] * (raw - said["offset"]), abs=1e-4)
    assert len({round(scores[0], 4) for scores in members.tolist()}) == 3  # they differ
    assert reward.score([PROMPT], [RESPONSES]).tolist() == members.amin(0).tolist()


def test_what_is_written_and_said(tmp_path: Path, tiny_model: Path):
    run = run_steps(tmp_path, tiny_model, STEP)
    folder = run / "steps/judges"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["num_members"] == 3
    # 0.75 of 8 prompts are 6, in batches of 2 for 2 epochs
    assert [(one["num_comparisons"], one["num_optimizer_steps"]) for one in summary["members"]] == [(6, 6)] * 3
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows] == list(range(1, 19))
    assert [row["member"] for row in rows] == [0] * 6 + [1] * 6 + [2] * 6
    assert learned_folder(folder) is None  # a value model starts from the policy
    with pytest.raises(UserError, match="this reward is not one model, and such are opened from a store of your own"):
        load_reward(folder, torch.float32)
    scores = api_load("few:judges", store=tmp_path / "store").score(["Hello."], [["Yes.", "No."]])
    assert len(scores[0]) == 2
    for number in range(3):  # adapters that were put in after the backbone was cast would be trained in bfloat16
        tensors = load_file(folder / f"member-{number}/adapter_model.safetensors")
        assert all(tensor.dtype == torch.float32 for tensor in tensors.values())


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize(("dtype", "stop_at"), [(torch.float32, 6), (torch.bfloat16, 9)])
def test_a_stop_changes_no_bit(tmp_path: Path, tiny_model: Path, dtype: torch.dtype, stop_at: int):
    """At the end of a member, and within the second: also where the backbone is rounded."""
    text = f"model: {json.dumps(str(tiny_model))}\ndata: {{mine: builtin:made-up}}\nsteps:\n" + STEP
    plan = make_plan(parse_recipe(text, Path("few.yaml")), STEPS)
    run_steps(tmp_path, tiny_model, "  - reward_rule: {rule: json}\n")  # the model and the data
    store, step = Store(tmp_path / "store"), plan.step("judges")
    inputs = {field: tuple(_input(store, link) for link in links) for field, links in step.parents.items()}

    def train(folder: Path, stop: int | None = None) -> Path:
        asked = [0]

        def stops() -> bool:
            asked[0] += 1
            return asked[0] == stop

        work = Workspace(folder, min_checkpoint_seconds=1e9, stop=stops)
        with patch.object(compute, "compute_dtype", lambda: dtype):
            STEPS["reward"].run(Job("judges", step.config, step.seed, inputs, work, store))
        return work.out

    whole = digests(train(tmp_path / "whole"))
    with pytest.raises(Interrupted):
        train(tmp_path / "stopped", stop_at)
    assert digests(train(tmp_path / "stopped")) == whole
    assert {"base/model.safetensors", "member-2/adapter_model.safetensors", "reward.json"} <= set(whole)


def test_it_is_evaluated_and_watched_as_one(tmp_path: Path, tiny_model: Path):
    judges = f"  - reward: {{{KEYS}, combine: uncertainty, coef: 1, validation: mine.pairs, start: model}}\n"
    with pytest.raises(UserError, match="is trained on, so it cannot be the validation"):
        run_steps(tmp_path, tiny_model, judges)
    steps = STEP + "  - ppo: {prompts: mine.prompts, reward: judges, watch: [judges], num_iterations: 1,"
    steps += " prompts_per_iteration: 4, num_samples: 2, max_response_tokens: 6}\n"
    run = run_steps(tmp_path, tiny_model, steps)
    (row,) = [json.loads(line) for line in (run / "steps/ppo/metrics.jsonl").read_text().splitlines()]
    assert row["watch/judges"] == pytest.approx(row["objective/scores"], abs=1e-4)
    assert row["spread/judges"] > 0


def test_a_changed_member_is_refused(tmp_path: Path, tiny_model: Path):
    run = run_steps(tmp_path, tiny_model, STEP)
    file = (run / "steps/judges").resolve() / "member-1/member.json"
    file.write_text(file.read_text().replace("offset", "OFFSET"))
    with pytest.raises(UserError, match="is not what was written"):
        load(run)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            "members: 3",
            ".members: the 3 members of an ensemble are adapters on one backbone, and lora is not set\n  Add",
        ),
        ("combine: worst", ".combine: combine is for an ensemble, and there is one member\n  Set members: 5."),
        ("member_share: 0.5", ".member_share: member_share is for an ensemble"),
        ("members: 3, lora: {}, coef: 1", ".coef: coef weighs the variance in `combine: uncertainty`, and the members"),
        ("members: 0", ".members: it should be greater than 0"),
    ],
)
def test_what_a_plan_refuses(tiny_model: Path, config: str, message: str):
    text = f"model: {json.dumps(str(tiny_model))}\ndata: {{mine: builtin:made-up}}\nsteps:\n"
    with pytest.raises(UserError) as caught:
        make_plan(parse_recipe(text + f"  - reward: {{data: mine.pairs, {config}}}\n", Path("few.yaml")), STEPS)
    assert str(caught.value).startswith("few.yaml:4:reward" + message)


def test_what_a_plan_warns_of(tiny_model: Path):
    text = f"model: {json.dumps(str(tiny_model))}\ndata: {{mine: builtin:made-up}}\nsteps:\n"
    text += (
        "  - reward: {data: mine.pairs, members: 3, lora: {}, combine: worst, normalise: none, learning_rate: 1.0e-4}\n"
    )
    (caution,) = make_plan(parse_recipe(text, Path("few.yaml")), STEPS).cautions
    assert caution.startswith("few.yaml:4:reward.normalise: 'worst' compares the members, and normalise: none leaves")
