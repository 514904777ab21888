"""What a recipe's `model` can name, and a hub that is a cache on the disk: nothing here reaches a network."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants, errors

from accord.errors import UserError
from accord.models import hub
from accord.models.catalog import load_template, prepare
from accord.models.sources import fingerprint, locate, pinned
from accord.steps.model import Config

COMMIT, OTHER = "1" * 40, "2" * 40


@pytest.fixture
def cache(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub's cache with made/tiny at `main`, and no hub."""
    root = tmp_path / "hub"
    _add(root, "made/tiny", tiny_model, COMMIT, "main")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(root))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return root


def _add(root: Path, name: str, files: Path, commit: str, ref: str | None) -> Path:
    repo = root / f"models--{name.replace('/', '--')}"
    shutil.copytree(files, repo / "snapshots" / commit)
    (repo / "refs").mkdir(exist_ok=True)
    if ref:
        (repo / "refs" / ref).write_text(commit)
    return repo / "snapshots" / commit


def test_forms(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").touch()
    assert locate("smollm2-135m-instruct").form == "builtin"
    assert locate(str(tiny_model)).form == "folder"
    assert locate(str(tmp_path / "m.gguf")).form == "gguf"
    for source in ("made/tiny", "made/tiny@main", "made/Tiny-1.5B@refs/pr/1"):
        assert locate(source).form == "hub"


@pytest.mark.parametrize("source", ["smollm2-135m-instuct", "./nowhere", "nowhere/m.gguf/x", "/no/where", "a/b/c"])
def test_what_is_none_of_them_is_told_the_forms(source: str) -> None:
    with pytest.raises(UserError, match=r"built-in name, a Hugging Face folder, a \.gguf file, or a\s+hub id"):
        locate(source)


def test_the_nearest_built_in_name_is_named() -> None:
    with pytest.raises(UserError, match="Did you mean 'smollm2-135m-instruct'"):
        locate("smollm2-135m-instuct")


def test_a_file_that_is_no_model_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(UserError, match="is not a model"):
        locate(str(tmp_path / "a.txt"))


def test_the_fingerprint_follows_the_content(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    before = fingerprint(str(folder))
    assert before == fingerprint(str(tiny_model)), "not of the place"
    (folder / "README.md").write_text("no part of the model")
    assert fingerprint(str(folder)) == before
    (folder / "chat_template.jinja").write_text("other")
    assert fingerprint(str(folder)) != before
    one, other = tmp_path / "one.gguf", tmp_path / "other.gguf"
    one.write_bytes(b"a")
    other.write_bytes(b"a")
    assert fingerprint(str(one)) == fingerprint(str(other))
    other.write_bytes(b"b")
    assert fingerprint(str(one)) != fingerprint(str(other))


def test_a_model_of_the_hub_is_known_by_its_commit(cache: Path) -> None:
    assert fingerprint("made/tiny") == COMMIT
    assert fingerprint("made/tiny@main") == COMMIT
    assert fingerprint(f"made/tiny@{OTHER}") == OTHER
    assert pinned("made/tiny", COMMIT) == f"made/tiny@{COMMIT}"
    assert pinned("smollm2-135m-instruct", "x") == "smollm2-135m-instruct"


def test_a_cached_model_of_the_hub_opens_offline(cache: Path, tiny_model: Path, tmp_path: Path) -> None:
    prepare(pinned("made/tiny", COMMIT), tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert load_template("made/tiny").pad_id == load_template(str(tiny_model)).pad_id


def test_offline_and_not_cached_says_how_to_get_it(cache: Path, tmp_path: Path) -> None:
    for source, command in (
        ("made/other", "hf download made/other --local-dir FOLDER"),
        ("made/tiny@v2", "hf download made/tiny --revision v2 --local-dir FOLDER"),
    ):
        with pytest.raises(UserError, match=command) as caught:
            fingerprint(source)
        assert "not in the hub's cache" in caught.value.what
    with pytest.raises(UserError, match="not in the hub's cache"):
        prepare(f"made/tiny@{OTHER}", tmp_path / "out")


def test_a_model_without_safetensors_is_refused(cache: Path, tiny_model: Path, tmp_path: Path) -> None:
    snapshot = _add(cache, "made/pickled", tiny_model, COMMIT, "main")
    (snapshot / "model.safetensors").rename(snapshot / "pytorch_model.bin")
    with pytest.raises(UserError, match="no safetensors"):
        prepare("made/pickled", tmp_path / "out")
    assert load_template("made/pickled").end_id == 2, "the tokenizer is there"


def test_only_what_is_needed_is_downloaded(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = ("config.json", "tokenizer.json", "model-00001-of-00002.safetensors", "chat_template.jinja")
    others = ("pytorch_model.bin", "modeling_made.py", "consolidated.safetensors", "original/model.safetensors", "x.pt")
    asked: list[dict[str, Any]] = []

    def download(name: str, **options: Any) -> str:
        asked.append({"name": name, **options})
        return str(tiny_model)

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    prepare(f"made/tiny@{COMMIT}", tmp_path / "out")
    load_template("made/tiny@dev")
    assert [(one["name"], one["revision"]) for one in asked] == [("made/tiny", COMMIT), ("made/tiny", "dev")]
    for one, wanted in zip(asked, (files, (*files[:2], files[3])), strict=True):
        patterns = {name: one[name] for name in ("allow_patterns", "ignore_patterns")}
        assert set(huggingface_hub.utils.filter_repo_objects((*files, *others), **patterns)) == set(wanted)


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        (errors.GatedRepoError, "those who have asked for it(.|\n)*hf auth login"),
        (errors.RepositoryNotFoundError, "there is no model 'made/new' on the hub"),
        (errors.RevisionNotFoundError, "no revision 'main'"),
        (errors.OfflineModeIsEnabled, "not in the hub's cache(.|\n)*hf download made/new"),
        (ConnectionError, "the hub was not reached: as it happens"),
        (RuntimeError, "the hub was not reached: as it happens"),
    ],
)
def test_errors_of_the_hub_say_what_to_do(
    kind: type[Exception], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        error = kind.__new__(kind)
        Exception.__init__(error, "as it happens")
        raise error

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", fail)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(UserError, match=problem):
        fingerprint("made/new")
    with pytest.raises(UserError, match=problem):
        prepare("made/new", tmp_path / "out")


def test_no_network_is_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the real library, whose errors are not all OSErrors: the tests' sockets are shut."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(UserError, match=r"the hub was not reached(.|\n)*hf download made/new"):
        fingerprint("made/new")


def test_the_hub_is_asked_for_what_the_cache_does_not_hold(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Info:
        sha = OTHER

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda self, name, revision: Info)
    assert fingerprint("made/new") == OTHER
    assert fingerprint("made/tiny") == COMMIT, "the cache stands, so that a run gives the same tomorrow"


def test_the_cache_is_listed(cache: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = _add(cache, "made/half", tiny_model, COMMIT, "main")
    (snapshot / "model.safetensors").unlink()
    assert [(one.name, one.complete) for one in hub.cached_models()] == [("made/half", False), ("made/tiny", True)]
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "nowhere"))
    assert hub.cached_models() == []


def test_the_step_s_config_keeps_what_is_given_and_no_more(tiny_model: Path, tmp_path: Path) -> None:
    plain = Config.model_validate({"source": str(tiny_model)})
    assert set(plain.model_dump(mode="json")) == {"source", "fingerprint"}, "so that keys stay as they were"
    named = Config.model_validate({"source": str(tiny_model), "chat_template": "plain"})
    assert named.model_dump()["chat_template"] == "plain"
    path = tmp_path / "own.jinja"
    path.write_text("{{ messages }}")
    from_file = Config.model_validate({"source": str(tiny_model), "chat_template": str(path)})
    assert from_file.chat_template == "{{ messages }}"
    with pytest.raises(UserError, match="is not there"):
        Config.model_validate({"source": str(tiny_model), "chat_template": "plian"})
