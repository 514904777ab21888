"""Models of which there is nothing but their dimensions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from accord.errors import UserError
from accord.models.catalog import config_of, load_template
from accord.models.complete import check_files
from accord.models.cost import dimensions_of
from accord.models.known import KNOWN
from accord.models.stand_in import standing_in
from accord.types import Message, Prompt, Response


def test_a_known_model_by_its_dimensions() -> None:
    with standing_in("meta-llama/Llama-2-7b-hf") as found:
        assert found is not None
        check_files(found.source)
        config = config_of(found.source)
        assert dimensions_of(config.to_dict()) == dimensions_of(KNOWN["llama-2-7b"].config)
        template = load_template(found.source)
        assert "published for llama-2-7b" in found.said
    assert not Path(found.source).exists()
    # 3 special tokens, "user", "assi" + "stant" or so, two newlines between and after; a word of five letters each
    few = template.prompt_ids(Prompt("1", (Message("user", "apple"),)))
    more = template.prompt_ids(Prompt("2", (Message("user", "apple" + " apple" * 100),)))
    assert len(more) - len(few) == 100
    assert len(template.response_ids(Response(" a" * 7))) == 7 + 1, "as estimates write what is not sampled yet"


def test_a_boundary_is_kept() -> None:
    """What follows an opened turn is counted as if it stood alone."""
    with standing_in("llama-2-7b") as found:
        assert found is not None
        template = load_template(found.source)
        template.check_boundary(
            Prompt("1", (Message("user", "Name two trees."),)), Response("Ash, and elm; 12 of them.")
        )


def test_a_folder_with_a_config_alone(tmp_path: Path, tiny_model: Path) -> None:
    folder = tmp_path / "bare"
    folder.mkdir()
    shutil.copy(tiny_model / "config.json", folder)
    with standing_in(str(folder)) as found:
        assert found is not None
        assert found.counts
        assert dimensions_of(config_of(found.source).to_dict()) == dimensions_of(config_of(str(tiny_model)).to_dict())
    for path in tiny_model.iterdir():
        if path.suffix != ".safetensors":
            shutil.copy(path, folder)
    with standing_in(str(folder)) as found:
        assert found is not None
        assert not found.counts
        own, there = load_template(found.source), load_template(str(tiny_model))
        prompt = Prompt("1", (Message("user", "a walk in the park"),))
        assert own.prompt_ids(prompt) == there.prompt_ids(prompt)


def test_what_is_there_is_itself(tiny_model: Path) -> None:
    with standing_in(str(tiny_model)) as found:
        assert found is None
    with standing_in("smollm2-135m-instruct") as found:
        assert found is None


def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not there") as caught, standing_in("llama-9-7b"):
        pass
    assert "llama-2-7b" in caught.value.remedy
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(UserError, match="not a JSON object"), standing_in(str(tmp_path)):
        pass
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with standing_in(str(tmp_path)) as found:
        assert found is not None
