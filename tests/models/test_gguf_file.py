"""A GGUF file is all that there is of its model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from gguf import GGUFReader, GGUFWriter

from accord.errors import UserError
from accord.models import gguf_file
from accord.models.catalog import load_template, prepare
from accord.models.export import export
from accord.models.sources import fingerprint


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    return export(tiny_model, tmp_path / "models" / "tiny.gguf")


def test_no_code_beside_the_file_is_run(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda *text: asked.append(str(text)) or "y")
    code = f"open({str(tmp_path / 'ran')!r}, 'w')\nfrom transformers import PreTrainedTokenizerFast\n"
    (model.parent / "evil.py").write_text(code + "class Evil(PreTrainedTokenizerFast): pass\n")
    settings = {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}}
    (model.parent / "tokenizer_config.json").write_text(json.dumps(settings))
    config = {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"}}
    (model.parent / "config.json").write_text(json.dumps(config))
    load_template(str(model))
    prepare(str(model), tmp_path / "out")
    assert not asked
    assert not (tmp_path / "ran").exists()


def test_what_lies_beside_the_file_changes_nothing(model: Path) -> None:
    """As it does not change what the file is known by."""
    before, known_by = load_template(str(model)), fingerprint(str(model))
    (model.parent / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')
    (model.parent / "chat_template.jinja").write_text("other")
    (model.parent / "config.json").write_text('{"model_type": "llama", "hidden_size": 8}')
    (model.parent / "generation_config.json").write_text('{"max_new_tokens": 3}')
    after = load_template(str(model))
    assert fingerprint(str(model)) == known_by
    assert type(after.tokenizer) is type(before.tokenizer)
    assert (after.pad_id, after.end_id) == (before.pad_id, before.end_id)
    assert after.tokenizer.chat_template == before.tokenizer.chat_template
    assert gguf_file.load_config(model).hidden_size == 32
    assert gguf_file.load_module(model).generation_config.max_new_tokens is None


def test_a_file_without_all_of_its_weights_is_refused(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = GGUFWriter.add_tensor
    with monkeypatch.context() as patch:
        patch.setattr(GGUFWriter, "add_tensor", lambda self, name, *a, **k: "norm" in name or add(self, name, *a, **k))
        export(tiny_model, tmp_path / "m.gguf")
    assert not [tensor for tensor in GGUFReader(tmp_path / "m.gguf").tensors if "norm" in tensor.name]
    with pytest.raises(UserError, match=r"weights of the model are missing.* and 4 more") as caught:
        prepare(str(tmp_path / "m.gguf"), tmp_path / "out")
    assert caught.value.where == str(tmp_path / "m.gguf")


def test_a_damaged_file_is_refused(model: Path, tmp_path: Path) -> None:
    whole = model.read_bytes()
    for size in (6, 300, len(whole) - 1000):
        model.write_bytes(whole[:size])
        with pytest.raises(UserError, match="not a GGUF file that can be opened"):
            prepare(str(model), tmp_path / "out")


def test_a_link_to_a_file_opens(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link.gguf").symlink_to(model)
    monkeypatch.chdir(tmp_path)
    one, other = gguf_file.load_module(Path("link.gguf")), gguf_file.load_module(model)
    assert torch.equal(one.get_input_embeddings().weight, other.get_input_embeddings().weight)


def test_no_bar_is_drawn(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    gguf_file.load_module(model)
    assert "de-quantizing" not in capfd.readouterr().err
