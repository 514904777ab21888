"""Scores that are kept in the store: found by samples, reward and dtype, and by nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from accord.errors import UserError
from accord.models.scalar import Normalisation
from accord.rewards.kept import KIND, KeptScores
from accord.rewards.stored import Scored
from accord.store.artifacts import Artifact, Provenance, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def artifact(store: Store, kind: str, key: str) -> Artifact:
    folder = store.work_folder(kind, key)
    folder.mkdir(parents=True)
    (folder / "some.json").write_text("{}")
    return store.publish(folder, Provenance(kind, "name", key, 1, {}, 0, {}), 0.0)


SCORED = Scored(torch.tensor([1.5, float("nan"), -2.0], dtype=torch.float64), Normalisation(0.25, 3.0))


def test_what_is_kept_is_found_as_it_was(store: Store):
    samples, reward, other = (
        artifact(store, "sample", "a"),
        artifact(store, "reward", "b"),
        artifact(store, "reward", "c"),
    )
    kept = KeptScores(store, samples, torch.float32)
    assert kept.find(reward) is None
    kept.keep(reward, SCORED, "study", 2.0)
    found = KeptScores(store, samples, torch.float32).find(reward)
    assert found is not None
    assert found.normalisation == SCORED.normalisation
    torch.testing.assert_close(found.scores, SCORED.scores, rtol=0, atol=0, equal_nan=True)
    kept.keep(reward, SCORED, "study", 2.0)  # by another run, meanwhile
    assert kept.find(other) is None
    assert KeptScores(store, artifact(store, "sample", "d"), torch.float32).find(reward) is None
    assert KeptScores(store, samples, torch.bfloat16).find(reward) is None


def test_what_was_changed_is_refused(store: Store):
    samples, reward = artifact(store, "sample", "a"), artifact(store, "reward", "b")
    kept = KeptScores(store, samples, torch.float32)
    kept.keep(reward, SCORED, "study", 2.0)
    (file,) = (store.root / "artifacts").glob(f"{KIND}-*/*.safetensors")
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=r"scores\.safetensors"):
        KeptScores(Store(store.root), samples, torch.float32).find(reward)


def test_without_a_store_nothing_is_kept(store: Store):
    samples, reward = artifact(store, "sample", "a"), artifact(store, "reward", "b")
    kept = KeptScores(None, samples, torch.float32)
    kept.keep(reward, SCORED, "study", 2.0)
    assert kept.find(reward) is None
