"""Artifacts: what is in a manifest, and that damage is found."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

from accord.errors import UserError
from accord.store.artifacts import Artifact, Parent, Provenance, Store
from accord.store.digests import canonical

KEY = "0123456789abcdef" * 4


def provenance(config: dict[str, object] | None = None) -> Provenance:
    parents = {"data": (Parent("reviews.sft", "data", "f" * 64, "sft"),)}
    return Provenance("sft", "first", KEY, 2, config or {"rate": 0.1}, 11, parents)


def published(root: Path) -> Artifact:
    content = root / "content"
    (content / "policy").mkdir(parents=True)
    (content / "policy" / "weights.bin").write_bytes(bytes(range(200)))
    (content / "note.txt").write_text("abc")
    return Store(root).publish(content, provenance(), 12.3456)


def test_the_manifest(tmp_path: Path):
    artifact = published(tmp_path)
    assert artifact.path == tmp_path / "artifacts" / "sft-0123456789abcdef"
    manifest = json.loads((artifact.path / "manifest.json").read_text())
    assert manifest["files"]["note.txt"] == {
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",  # FIPS 180-2, of "abc"
        "size": 3,
    }
    assert set(manifest["files"]) == {"note.txt", "policy/weights.bin"}
    assert manifest["parents"] == {"data": [{"name": "reviews.sft", "kind": "data", "key": "f" * 64, "part": "sft"}]}
    assert (manifest["format"], manifest["kind"], manifest["name"], manifest["version"]) == (1, "sft", "first", 2)
    assert (manifest["seed"], manifest["seconds"], manifest["config"]) == (11, 12.346, {"rate": 0.1})
    assert manifest["libraries"]["numpy"]
    assert manifest["created"].endswith("+00:00")
    assert (artifact.kind, artifact.key, artifact.seconds) == ("sft", KEY, 12.346)
    assert artifact.file("note.txt").read_text() == "abc"
    with pytest.raises(UserError, match=r"no file 'other.txt'"):
        artifact.file("other.txt")


def test_find(tmp_path: Path):
    store = Store(tmp_path)
    assert store.find("sft", KEY) is None
    artifact = published(tmp_path)
    assert store.find("sft", KEY) == artifact
    assert store.find("ppo", KEY) is None
    with pytest.raises(UserError, match="belongs to"):
        store.find("sft", KEY[:16] + "0" * 48)
    (artifact.path / "manifest.json").unlink()
    assert store.find("sft", KEY) is None
    shutil.rmtree(tmp_path / "content", ignore_errors=True)
    published(tmp_path).verify()  # takes the place of the folder without a manifest


def test_the_artifact_at_a_folder_is_one_of_this_store(tmp_path: Path):
    """A copy elsewhere is none, whatever its manifest says, and neither is one by another name."""
    artifact = published(tmp_path / "store")
    store = Store(tmp_path / "store")
    (tmp_path / "link").symlink_to(artifact.path)
    assert store.at(tmp_path / "link") == store.at(artifact.path) == artifact
    copy = shutil.copytree(artifact.path, tmp_path / "copy")
    other = shutil.copytree(artifact.path, store.root / "artifacts" / "sft-other")
    for folder in (copy, other, artifact.path / "policy", store.root / "artifacts", tmp_path / "nowhere"):
        assert store.at(folder) is None
    assert Store(tmp_path).at(artifact.path) is None
    (artifact.path / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match="damaged"):
        store.at(artifact.path)


def test_a_second_publication_gives_the_first(tmp_path: Path):
    first = published(tmp_path)
    second = published(tmp_path)
    assert second.manifest == first.manifest


def test_a_flipped_bit_is_found_wherever_it_is(tmp_path: Path):
    artifact = published(tmp_path)
    rng = random.Random(1)
    for name in ("manifest.json", "note.txt", "policy/weights.bin"):
        path = artifact.path / name
        good = path.read_bytes()
        for bit in rng.sample(range(8 * len(good)), 24):
            bad = bytearray(good)
            bad[bit // 8] ^= 1 << (bit % 8)
            path.write_bytes(bad)
            with pytest.raises(UserError) as caught:
                Store(tmp_path).find("sft", KEY).verify()  # type: ignore[union-attr]
            assert name in caught.value.what
            assert str(artifact.path) in caught.value.remedy
        path.write_bytes(good)
    artifact.verify()


def test_damage_after_a_first_verification_is_found(tmp_path: Path):
    artifact = published(tmp_path)
    artifact.verify()
    artifact.file("note.txt").write_text("abd")
    with pytest.raises(UserError, match=r"note.txt is not what was written"):
        artifact.verify()


def test_missing_and_cut_files(tmp_path: Path):
    artifact = published(tmp_path)
    artifact.file("note.txt").write_text("ab")
    with pytest.raises(UserError, match=r"note.txt has 2 bytes instead of 3"):
        Store(tmp_path).find("sft", KEY)
    artifact.file("note.txt").unlink()
    with pytest.raises(UserError, match=r"note.txt is missing"):
        artifact.verify()
    with pytest.raises(UserError, match=r"note.txt is missing"):
        Store(tmp_path).find("sft", KEY)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 2}', "\xff", "[" * 100_000])
def test_a_manifest_that_is_none(tmp_path: Path, text: str):
    artifact = published(tmp_path)
    (artifact.path / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"damaged: manifest.json") as caught:
        Store(tmp_path).find("sft", KEY)
    assert "Delete the folder" in caught.value.remedy


def test_canonical_json():
    assert canonical({"b": (1, 2.5), "a": None}) == '{"a":null,"b":[1,2.5]}'
    assert canonical({2: "x", 10: "y"}) == canonical({"10": "y", "2": "x"})


def test_publishing_where_nothing_may_be_written(tmp_path: Path):
    (tmp_path / "content").mkdir()
    (tmp_path / "artifacts").write_text("a file in the way")
    with pytest.raises(OSError, match="exist"):
        Store(tmp_path).publish(tmp_path / "content", provenance(), 0.0)
