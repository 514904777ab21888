"""What is saved is ordinary: the Auto classes open it, and give our numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from accord.engine.config import Optimization
from accord.engine.learner import Learner
from accord.errors import UserError
from accord.models.catalog import prepare
from accord.models.policy import Policy
from accord.models.scalar import Normalisation, ScalarModel
from accord.models.sources import fingerprint
from accord.rewards.learned import LearnedReward
from accord.types import Message, Prompt, Response

INSTRUCTION = (Message("user", "Write one line of a film review."),)
PROMPTS = [Prompt("a", INSTRUCTION), Prompt("b", INSTRUCTION, "The acting")]
RESPONSES = [[Response("A dull plot."), Response("A warm film, and it lands.")], [Response(" is warm."), Response(".")]]


def _turns(prompt: Prompt, response: Response) -> list[dict[str, str]]:
    return [
        {"role": "user", "content": prompt.messages[0].content},
        {"role": "assistant", "content": prompt.prefill + response.text},
    ]


def test_the_auto_class_gives_our_raw_scores_single_and_padded(tiny_model: Path, tmp_path: Path) -> None:
    model = ScalarModel.from_policy(tiny_model, seed=3)
    model.save(tmp_path, {}, Normalisation(offset=0.25, gain=2.0))
    ours = LearnedReward.load(tmp_path, torch.float32).score(PROMPTS, RESPONSES)
    raw = ours / 2 + 0.25

    auto = AutoModelForSequenceClassification.from_pretrained(tmp_path, num_labels=1).eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, padding_side="right")
    conversations = [_turns(p, r) for p, rs in zip(PROMPTS, RESPONSES, strict=True) for r in rs]
    with torch.no_grad():
        single = [
            auto(tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=True).input_ids).logits[0, 0]
            for turns in conversations
        ]
        batch = tokenizer.apply_chat_template(conversations, padding=True, return_tensors="pt", return_dict=True)
        padded = auto(**batch).logits[:, 0]
    torch.testing.assert_close(torch.stack(single), raw, atol=1e-5, rtol=0)
    torch.testing.assert_close(padded, raw, atol=1e-5, rtol=0)


def test_the_normalisation_is_in_the_config_and_survives(tiny_model: Path, tmp_path: Path) -> None:
    ScalarModel.from_policy(tiny_model, seed=3).save(tmp_path, {}, Normalisation(0.25, 2.0))
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["score_offset"], config["score_gain"]) == (0.25, 2.0)
    assert ScalarModel.load(tmp_path).normalisation == Normalisation(0.25, 2.0)


def test_a_value_model_starts_at_the_normalised_score(tiny_model: Path, tmp_path: Path) -> None:
    ScalarModel.from_policy(tiny_model, seed=3).save(tmp_path, {}, Normalisation(0.25, 2.0))
    reward, value = ScalarModel.load(tmp_path), ScalarModel.value_from_reward(tmp_path)
    from accord.text.tree import Branch, Tree, TreeBatch

    batch = TreeBatch.from_rows([[Tree((5, 6), (Branch((20, 21, 22)),))]], 0)
    with torch.no_grad():
        raw = reward.values(batch)
        torch.testing.assert_close(value.values(batch), 2 * (raw - 0.25), atol=1e-5, rtol=0)


def test_a_saved_policy_holds_the_masters_and_opens_plainly(tiny_model: Path, tmp_path: Path) -> None:
    policy = Policy.load(tiny_model)
    learner = Learner(policy.module, torch.bfloat16, Optimization())
    assert policy.head.dtype == torch.bfloat16
    policy.save(tmp_path, learner.masters)
    reloaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    original = AutoModelForCausalLM.from_pretrained(tiny_model)
    assert reloaded.dtype == torch.float32
    assert reloaded.config.pad_token_id == 0
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert set(file.keys()) == {name for name, _ in original.named_parameters()}, "tied weights are written once"
    for (name, ours), (_, theirs) in zip(reloaded.named_parameters(), original.named_parameters(), strict=True):
        assert torch.equal(ours, theirs), name
    assert {p.name for p in tmp_path.iterdir() if p.suffix not in (".json", ".safetensors", ".jinja")} == set()


def test_the_head_of_a_new_reward_model_is_drawn_from_its_seed(tiny_model: Path) -> None:
    first, again, other = (ScalarModel.from_policy(tiny_model, seed=s).head for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    # N(0, 1 / (d + 1)) with d = 32: 32 draws have a standard deviation near 0.174
    assert 0.1 < float(first.detach().std()) < 0.26


def test_sources(tiny_model: Path, tmp_path: Path) -> None:
    prepare(str(tiny_model), tmp_path / "copy")
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "copy").config.vocab_size == 512
    before = fingerprint(str(tiny_model))
    assert before == fingerprint(str(tiny_model))
    assert before != fingerprint(str(tmp_path / "copy"))
    assert fingerprint("smollm2-135m-instruct") != before


@pytest.mark.parametrize("source", ["smollm2-135m", "./nowhere"])
def test_an_unknown_model_is_named(source: str) -> None:
    with pytest.raises(UserError, match="smollm2-135m-instruct"):
        fingerprint(source)


def test_a_folder_that_is_not_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json"):
        fingerprint(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(UserError, match=tmp_path.name):
        prepare(str(tmp_path), tmp_path / "out")


def test_an_architecture_that_ignores_the_tree_is_refused(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for one: an attention that sees all earlier columns, as a recurrent state would."""
    from accord.models import attention, catalog
    from accord.models.folders import load_module

    catalog.check_tree_layout(load_module(AutoModelForCausalLM, tiny_model), "tiny")

    class Blind(attention.TreeAttention):
        def __init__(self, visible: torch.Tensor, dtype: torch.dtype) -> None:
            super().__init__(torch.ones_like(visible).tril(), dtype)

    monkeypatch.setattr("accord.models.policy.TreeAttention", Blind)
    with pytest.raises(UserError, match="response tree's mask"):
        catalog.check_tree_layout(load_module(AutoModelForCausalLM, tiny_model), "tiny")


def test_code_in_a_model_folder_is_not_run(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "model")
    config = json.loads((tiny_model / "config.json").read_text())
    config |= {"model_type": "made-up", "auto_map": {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    (tmp_path / "model" / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(UserError):
        prepare(str(tmp_path / "model"), tmp_path / "out")
    assert not (tmp_path / "ran").exists()


def test_windowed_attention_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    config = json.loads((tiny_model / "config.json").read_text())
    config |= {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": 4}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="full attention"):
        prepare(str(tmp_path), tmp_path / "out")
