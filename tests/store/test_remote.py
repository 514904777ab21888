"""Stores that share a place: artifacts go there and come back, whatever fails on the way."""

from __future__ import annotations

import errno
import itertools
import json
import os
from pathlib import Path

import pytest

from accord.errors import UserError
from accord.rewards.loading import _LOADERS
from accord.store.digests import seal
from accord.store.objects import Objects
from accord.store.remote import OWN, Remote
from tests.fixtures.remotes import (
    KEY,
    NAME,
    Killed,
    break_,
    files_at,
    machine,
    publish,
    put_at,
    remote,
    url,
)

__all__ = ["url"]


def test_what_one_machine_makes_another_takes(tmp_path: Path, url: str):
    made = publish(machine(tmp_path, "a", url))
    inside = f"artifacts/{NAME}/{made.manifest['digest'][:16]}"
    names = {f"artifacts/{NAME}/manifest.json", *(f"{inside}/{one}" for one in ("model/a.bin", "b.json", "empty"))}
    assert set(files_at(url)) == names
    there = machine(tmp_path, "b", url)
    assert there.here("sft", KEY) is None
    assert there.manifest("sft", KEY) == made.manifest
    assert there.here("sft", KEY) is None, "to know of it is not to fetch it"
    found = there.find("sft", KEY)
    assert found is not None
    assert (found.path, found.manifest) == (there.folder("sft", KEY), made.manifest)
    found.verify()
    assert (found.path / "manifest.json").read_bytes() == (made.path / "manifest.json").read_bytes()
    assert list((there.root / "incoming").iterdir()) == []


def test_what_is_not_there_is_none(tmp_path: Path, url: str):
    store = machine(tmp_path, "a", url)
    assert store.find("sft", KEY) is None
    assert not store.has("sft", KEY)


def test_that_it_was_not_there_is_believed_for_seconds(tmp_path: Path, url: str):
    now = 100.0
    place = Remote(Objects(url), clock=lambda: now)
    assert place.manifest("sft", KEY) is None
    publish(machine(tmp_path, "a", url))
    now = 114.0
    assert place.manifest("sft", KEY) is None
    now = 116.0
    assert place.manifest("sft", KEY) is not None


def test_a_manifest_of_other_work(tmp_path: Path, url: str):
    made = publish(machine(tmp_path, "a", url))
    other = seal({**{k: v for k, v in made.manifest.items() if k != "digest"}, "key": KEY[:16] + "0" * 48})
    put_at(url, f"artifacts/{NAME}/manifest.json", json.dumps(other).encode())
    with pytest.raises(UserError, match="belongs to sft"):
        machine(tmp_path, "b", url).find("sft", KEY)


@pytest.mark.parametrize("name", ["../../outside", "/outside", "a/../../../outside"])
def test_a_manifest_that_names_files_outside(tmp_path: Path, url: str, name: str):
    made = publish(machine(tmp_path, "a", url))
    files = {name: next(iter(made.manifest["files"].values()))}
    other = seal({**{k: v for k, v in made.manifest.items() if k != "digest"}, "files": files})
    put_at(url, f"artifacts/{NAME}/manifest.json", json.dumps(other).encode())
    with pytest.raises(UserError, match="outside the folder"):
        machine(tmp_path, "b", url).find("sft", KEY)


def test_of_two_that_make_the_same_the_first_stays(tmp_path: Path, url: str):
    one, two = machine(tmp_path, "a", url), machine(tmp_path, "b", url)
    first = publish(one, "first")
    second = publish(two, "second")
    assert second.manifest["files"] != first.manifest["files"], "each has its own"
    found = machine(tmp_path, "c", url).find("sft", KEY)
    assert found is not None
    assert found.manifest == first.manifest
    assert not remote(two).left


def test_two_uploads_at_once_do_not_mix(tmp_path: Path, url: str):
    """The second machine uploads all of its own between each two operations of the first."""
    for at in itertools.count(1):
        place = f"{url}-{at}"
        one, two = machine(tmp_path, f"a{at}", place), machine(tmp_path, f"b{at}", place)
        done = False

        counts = itertools.count(1)

        def meanwhile(_: str, two=two, at=at, counts=counts) -> None:
            nonlocal done
            if next(counts) == at:
                publish(two, "second")
                done = True

        break_(one, Killed(), at=10**9, before=meanwhile)
        first = publish(one, "first")
        if not done:
            break
        found = machine(tmp_path, f"c{at}", place).find("sft", KEY)
        assert found is not None
        found.verify()
        second = two.here("sft", KEY)
        assert second is not None
        assert found.manifest in (first.manifest, second.manifest)
        named = [name for name in files_at(place) if found.manifest["digest"][:16] in name]
        assert set(files_at(place)) == {*named, f"artifacts/{NAME}/manifest.json"}, "the loser takes its files away"
    assert at > 4


def test_a_download_goes_on_where_it_was(tmp_path: Path, url: str):
    publish(machine(tmp_path, "a", url))
    store = machine(tmp_path, "b", url)
    break_(store, Killed(), at=3, operations=("get_file",))
    with pytest.raises(Killed):
        store.find("sft", KEY)
    assert store.here("sft", KEY) is None
    again = machine(tmp_path, "b", url)
    counted = break_(again, Killed(), at=99, operations=("get_file",))
    found = again.find("sft", KEY)
    assert found is not None
    found.verify()
    assert counted.count == 1


def test_a_full_disk_here_is_not_the_places_fault(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch):
    publish(machine(tmp_path, "a", url))
    store = machine(tmp_path, "b", url)
    break_(store, OSError(errno.ENOSPC, "No space left on device"), operations=("get_file",))
    with pytest.raises(UserError, match="the disk is full"):
        store.find("sft", KEY)
    monkeypatch.setattr("accord.store.remote.free_disk", lambda folder: 5)
    with pytest.raises(UserError, match=r"to fetch, and 0.0 are free"):
        machine(tmp_path, "c", url).find("sft", KEY)


def test_a_damaged_artifact_is_not_uploaded(tmp_path: Path, url: str):
    store = machine(tmp_path, "a", url)
    break_(store, OSError(errno.EIO, "gone"), operations=("put_file",))
    made = publish(store)
    made.file("b.json").write_text("[]")
    with pytest.raises(UserError, match="damaged"):
        machine(tmp_path, "a", url).offer(made)


@pytest.mark.parametrize("kind", OWN)
def test_what_runs_code_or_tells_a_key_is_not_shared(tmp_path: Path, url: str, kind: str):
    publish(machine(tmp_path, "a", url), kind=kind)
    assert files_at(url) == {}
    put_at(url, f"artifacts/{kind}-{KEY[:16]}/manifest.json", b"whatever others wrote")
    assert machine(tmp_path, "b", url).find(kind, KEY) is None


def test_every_kind_that_trusts_its_artifact_is_left_out():
    assert set(_LOADERS) - {"reward_rule"} == set(OWN)


def test_processes_that_fetch_the_same_at_once(tmp_path: Path):
    url = f"file://{tmp_path}/shared"
    publish(machine(tmp_path, "a", url), "weights" * 1000)
    machine(tmp_path, "b", url)
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            try:
                found = machine(tmp_path, "b", url).find("sft", KEY)
                assert found is not None
                found.verify()
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4
