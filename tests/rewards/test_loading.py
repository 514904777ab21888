from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from accord.errors import UserError
from accord.models.scalar import Normalisation, ScalarModel
from accord.rewards.functions import FunctionReward, save_function
from accord.rewards.learned import LearnedReward
from accord.rewards.loading import artifact_reward, learned_folder, load_reward, same_vocabulary
from accord.store.artifacts import Artifact
from accord.types import Message, Prompt, Response
from accord.user_code import Source
from tests.fixtures.rewards import function_artifact
from tests.fixtures.tiny_model import make_tokenizer

PROMPT = Prompt("a", (Message("user", "Hello."),))


def test_an_artifact_of_either_kind(tiny_model: Path, tmp_path: Path):
    ScalarModel.from_policy(tiny_model, 1).save(tmp_path / "learned/model", {}, Normalisation(0.5, 2.0))
    assert isinstance(load_reward(tmp_path / "learned", torch.float32), LearnedReward)
    assert learned_folder(tmp_path / "learned") == tmp_path / "learned/model"
    source = Source("mine.py", b"def f(responses):\n    return [3]\n")
    artifact = function_artifact(tmp_path / "store", source, "f", Normalisation())
    loaded = artifact_reward(artifact, torch.float32)
    assert isinstance(loaded, FunctionReward)
    assert loaded.score([PROMPT], [[Response("x")]]).tolist() == [3.0]
    assert learned_folder(artifact.path) is None


BOMB = Source("mine.py", b"import pathlib\npathlib.Path('ran').touch()\ndef f(responses):\n    return [3]\n")


def test_the_code_in_a_folder_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Even where the folder is an artifact to the last byte: anybody can write a manifest."""
    monkeypatch.chdir(tmp_path)
    artifact = function_artifact(tmp_path / "store", BOMB, "f", Normalisation())
    with pytest.raises(UserError, match=r"no code of a folder is run\n  Name the function itself, FILE\.py:FUNCTION"):
        load_reward(artifact.path, torch.float32)
    assert not Path("ran").exists()


def test_code_that_was_put_beside_a_model_is_not_run(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    save_others(tiny_model, tmp_path / "downloaded", 1)
    save_function(tmp_path / "downloaded", BOMB, "f", Normalisation())
    assert isinstance(load_reward(tmp_path / "downloaded", torch.float32), LearnedReward)
    assert not Path("ran").exists()


@pytest.mark.parametrize("listed", [True, False])
def test_an_artifact_whose_code_was_changed_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: bool):
    monkeypatch.chdir(tmp_path)
    source = Source("mine.py", b"#" * (len(BOMB.content) - 1) + b"\n")
    artifact = function_artifact(tmp_path / "store", source, "f", Normalisation())
    (artifact.path / "reward.py").write_bytes(BOMB.content)
    if not listed:
        files = {name: entry for name, entry in artifact.manifest["files"].items() if name != "reward.py"}
        artifact = Artifact(artifact.path, {**artifact.manifest, "files": files})
    with pytest.raises(UserError, match=r"reward\.py is not what was written" if listed else r"no file 'reward\.py'"):
        artifact_reward(artifact, torch.float32)
    assert not Path("ran").exists()


def save_others(tiny_model: Path, folder: Path, num_labels: int) -> None:
    """A classifier as others save it: by transformers alone, without Accord's normalisation."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=num_labels)
    module.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)


def test_a_reward_model_made_by_others_gives_its_raw_score(tiny_model: Path, tmp_path: Path):
    save_others(tiny_model, tmp_path, 1)
    loaded = load_reward(tmp_path, torch.float32)
    assert loaded.normalisation == Normalisation()
    tokenizer = make_tokenizer()
    turns = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Good day."}]
    ids = tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=True)
    raw = AutoModelForSequenceClassification.from_pretrained(tmp_path)(**ids).logits.item()
    assert loaded.score([PROMPT], [[Response("Good day.")]]).item() == pytest.approx(raw, abs=1e-4)


def test_a_classifier_of_several_classes_is_refused(tiny_model: Path, tmp_path: Path):
    save_others(tiny_model, tmp_path, 3)
    with pytest.raises(UserError, match="the model tells 3 classes apart, and a reward model gives one number"):
        load_reward(tmp_path, torch.float32)


def test_a_policy_is_no_reward_model(tiny_model: Path):
    """Without this the Auto class would give it a random head."""
    with pytest.raises(UserError, match=r"the model has no score head \(score.weight\)"):
        load_reward(tiny_model, torch.float32)


def test_a_folder_that_is_neither(tmp_path: Path):
    with pytest.raises(UserError, match="this is not a reward"):
        load_reward(tmp_path, torch.float32)


def test_a_damaged_file(tiny_model: Path, tmp_path: Path):
    save_others(tiny_model, tmp_path, 1)
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(UserError, match="the weights are not whole"):
        load_reward(tmp_path, torch.float32)


def test_same_vocabulary_is_of_tokens_and_not_of_templates(tiny_model: Path, tmp_path: Path):
    tokenizer = make_tokenizer()
    tokenizer.chat_template = "{{ messages }}"
    tokenizer.save_pretrained(tmp_path / "template")
    tokenizer.add_tokens(["lighthouse"])
    tokenizer.save_pretrained(tmp_path / "more")
    assert same_vocabulary(tiny_model, tmp_path / "template")
    assert not same_vocabulary(tiny_model, tmp_path / "more")


def test_a_value_model_from_a_policy_says_zero(tiny_model: Path):
    from accord.text.tree import Branch, Tree, TreeBatch

    model = ScalarModel.value_from_policy(tiny_model)
    batch = TreeBatch.from_trees([Tree((3, 4), (Branch((5, 6)),))])
    assert model.values(batch).tolist() == [0.0, 0.0]
    backbone = load_file(tiny_model / "model.safetensors")["model.layers.1.mlp.up_proj.weight"]
    assert torch.equal(model.module.get_parameter("model.layers.1.mlp.up_proj.weight"), backbone)


def test_a_head_in_the_second_of_several_files(tmp_path: Path):
    save_file({"a": torch.zeros(1)}, tmp_path / "model-00001.safetensors")
    save_file({"score.weight": torch.zeros(2, 4)}, tmp_path / "model-00002.safetensors")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="2 classes"):
        load_reward(tmp_path, torch.float32)
