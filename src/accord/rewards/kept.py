"""What a reward said of the responses of a `sample` step: kept in the store, for every study of these.

It depends on the responses, the reward and the dtype, and on nothing else of who asks: with another proxy or another
comparison, a study asks of many thousand responses what is new alone.
"""

from __future__ import annotations

import shutil

import torch
from safetensors.torch import load_file, save_file

from accord.engine.group import agreed, current
from accord.models.scalar import Normalisation
from accord.rewards.stored import Scored
from accord.store.artifacts import Artifact, Parent, Provenance, Store
from accord.store.digests import digest_of
from accord.store.lock import lock

KIND = "reward_scores"
VERSION = 1
_FILE = "scores.safetensors"


class KeptScores:
    """Of the responses of `samples`, by rewards that compute in `dtype`. store: None where nothing is kept.

    Of a group all processes call these, in the same order, and see the same store.
    """

    def __init__(self, store: Store | None, samples: Artifact, dtype: torch.dtype) -> None:
        self._store, self._samples, self._dtype = store, samples, str(dtype)

    def find(self, reward: Artifact) -> Scored | None:
        """What was kept. Raises UserError when it was changed since."""
        artifact = self._store.find(KIND, self._key(reward)) if self._store else None
        if not agreed(artifact is not None):
            return None
        assert artifact is not None, "the store is one that all processes see"
        artifact.verify()
        read = load_file(artifact.file(_FILE))
        offset, gain = read["unit"].tolist()
        return Scored(read["scores"], Normalisation(offset, gain))

    def keep(self, reward: Artifact, scored: Scored, label: str, seconds: float) -> None:
        """label: of the step that asked; seconds: what it took."""
        if self._store and current().rank == 0:
            folder = self._store.work_folder(KIND, key := self._key(reward))
            with lock(folder.with_name(f"{folder.name}.lock"), "these scores", wait=True):
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                unit = torch.tensor([scored.normalisation.offset, scored.normalisation.gain], dtype=torch.float64)
                save_file({"scores": scored.scores.contiguous(), "unit": unit}, folder / _FILE)
                parents = {
                    field: (Parent(str(one.manifest["name"]), one.kind, one.key),)
                    for field, one in (("samples", self._samples), ("reward", reward))
                }
                provenance = Provenance(KIND, label, key, VERSION, {"dtype": self._dtype}, 0, parents)
                self._store.publish(folder, provenance, seconds)
                shutil.rmtree(folder, ignore_errors=True)  # another run was first
        agreed(True)  # it is there

    def _key(self, reward: Artifact) -> str:
        content = {
            "kind": KIND,
            "version": VERSION,
            "reward": [reward.kind, reward.key],
            "samples": [self._samples.kind, self._samples.key],
            "dtype": self._dtype,
        }
        return digest_of(content)
