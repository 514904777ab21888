"""Stores that share a place: artifacts go there and come back, whatever fails on the way."""

from __future__ import annotations

import errno
import itertools
import json
import os
from contextlib import suppress
from pathlib import Path

import pytest

from accord.errors import UserError
from accord.rewards.loading import _LOADERS
from accord.store.digests import seal
from accord.store.objects import Away, Objects
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
    the_one,
    url,
)

__all__ = ["url"]

READS = ("cat_file", "get_file", "find")


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


@pytest.mark.parametrize("fault", [Killed(), OSError(errno.EIO, "Input/output error")], ids=["kill", "io-error"])
def test_a_fault_at_every_write(tmp_path: Path, url: str, fault: BaseException):
    """Whatever fails: another machine sees all of an artifact or nothing, nothing is lost here, and the next command
    uploads what is left."""
    for at in itertools.count(1):
        place = f"{url}-{at}"
        store = machine(tmp_path, f"a{at}", place)
        faulty = break_(store, fault, at=at)
        with suppress(Killed):
            publish(store)
        done = faulty.count < at
        here = store.here("sft", KEY)
        assert here is not None, "it is published here before it is uploaded"
        seen = machine(tmp_path, f"b{at}", place).find("sft", KEY)
        if seen is not None:
            seen.verify()
        assert done <= (seen is not None)
        again = machine(tmp_path, f"a{at}", place)
        again.offer(here)
        assert not remote(again).left
        found = machine(tmp_path, f"c{at}", place).find("sft", KEY)
        assert found is not None
        found.verify()
        assert found.manifest == here.manifest
        if done:
            break
    assert at > 4, "three files and a manifest"


def test_an_upload_goes_on_where_it_was(tmp_path: Path, url: str):
    store = machine(tmp_path, "a", url)
    break_(store, OSError(errno.EIO, "gone"), at=3, operations=("put_file",))
    made = publish(store)
    again = machine(tmp_path, "a", url)
    counted = break_(again, Killed(), at=99, operations=("put_file",))
    again.offer(made)
    assert counted.count == 1


def test_a_failed_upload_is_said_once_and_named(tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]):
    store = machine(tmp_path, "a", url)
    break_(store, OSError(errno.EIO, "gone"), operations=("put_file",))
    made = publish(store)
    store.offer(made)
    assert list(remote(store).left) == [f"artifacts/{NAME}"]
    said = capsys.readouterr().err
    assert said.count("warning:") == 1
    assert "was not reached: " in said
    assert "What was made here is kept." in said


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        (PermissionError(errno.EACCES, "Access Denied"), "cannot be written"),
        (OSError(errno.ENOSPC, "No space left on device"), "there is no room left"),
        (OSError(errno.EIO, "QuotaExceeded: the bucket's"), "there is no room left"),
        (RuntimeError("Unable to locate credentials"), "cannot be written"),
        (FileNotFoundError("The specified bucket does not exist"), "cannot be written"),
        (TimeoutError("no answer"), "was not reached"),
        (NotImplementedError("this storage is read alone"), "cannot be written"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_there_is_said(tmp_path: Path, url: str, fault: Exception, what: str):
    store = machine(tmp_path, "a", url)
    break_(store, fault)
    with pytest.raises(UserError, match=what) as caught:
        remote(store).check_writable()
    assert caught.value.where.startswith(url)
    assert caught.value.remedy
    assert isinstance(caught.value, Away) == (what == "was not reached")


def test_a_place_that_can_be_written(tmp_path: Path, url: str):
    store = machine(tmp_path, "a", url)
    remote(store).check_writable()
    remote(store).check_writable()
    assert files_at(url) == {"accord-store.json": b'{"format": 1}\n'}


def test_a_place_that_is_away_is_an_error_before_it_was_reached(tmp_path: Path, url: str):
    store = machine(tmp_path, "a", url)
    break_(store, ConnectionError("no route"), operations=READS)
    for look in (store.find, store.has):
        with pytest.raises(UserError, match="was not reached: no route") as caught:
            look("sft", KEY)
        assert caught.value.where.startswith(url)


def test_a_place_that_goes_away_later_has_nothing(tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]):
    publish(machine(tmp_path, "a", url))
    store = machine(tmp_path, "b", url)
    assert store.find("ppo", KEY) is None
    break_(store, ConnectionError("no route"), operations=READS)
    assert store.find("sft", KEY) is None
    assert "what is not here is made here" in capsys.readouterr().err


def test_a_place_that_is_away_is_let_be_for_a_minute(tmp_path: Path, url: str):
    made = publish(machine(tmp_path, "a", url))
    now = 100.0
    store = machine(tmp_path, "b", url)
    store.remote = place = Remote(Objects(url), clock=lambda: now)
    assert store.find("ppo", KEY) is None
    faulty = break_(store, ConnectionError("no route"), operations=("cat_file",))
    for _ in range(3):
        assert store.find("sft", KEY) is None
        place.offer(made.path, made.manifest)
    assert faulty.count == 1
    assert list(place.left) == [f"artifacts/{NAME}"]
    faulty._at, now = 10**9, 161.0
    place.offer(made.path, made.manifest)
    assert not place.left
    assert store.find("sft", KEY) is not None


def test_a_changed_file_is_found(tmp_path: Path, url: str):
    made = publish(machine(tmp_path, "a", url))
    name = the_one(url, "a.bin")
    good = files_at(url)[name]
    for bad in (good[:-1], b"W" + good[1:], None):
        put_at(url, name, bad)
        store = machine(tmp_path, "b", url)
        with pytest.raises(UserError, match=r"damaged there: model/a.bin") as caught:
            store.find("sft", KEY)
        assert caught.value.where == f"{url}/artifacts/{NAME}"
        assert f"Delete {url}/artifacts/{NAME}" in caught.value.remedy
        assert store.here("sft", KEY) is None
    for one in [one for one in files_at(url) if NAME in one]:  # what the remedy says
        put_at(url, one, None)
    machine(tmp_path, "a", url).offer(made)
    found = machine(tmp_path, "b", url).find("sft", KEY)
    assert found is not None
    found.verify()


def test_a_bit_flipped_on_the_way_is_fetched_again(tmp_path: Path, url: str):
    publish(machine(tmp_path, "a", url))
    store = machine(tmp_path, "b", url)
    get, spoiled = remote(store)._objects.get, []

    def spoil(name: str, path: Path) -> None:
        get(name, path)
        if name.endswith("a.bin") and not spoiled:
            spoiled.append(name)
            path.write_bytes(b"W" + path.read_bytes()[1:])

    remote(store)._objects.get = spoil  # type: ignore[method-assign]
    found = store.find("sft", KEY)
    assert found is not None
    found.verify()
    assert spoiled


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_a_torn_manifest_is_said_and_mended_by_who_has_it(tmp_path: Path, url: str, cut: int):
    made = publish(machine(tmp_path, "a", url))
    name = f"artifacts/{NAME}/manifest.json"
    put_at(url, name, files_at(url)[name][:cut])
    with pytest.raises(UserError, match=r"damaged there: manifest.json"):
        machine(tmp_path, "b", url).find("sft", KEY)
    machine(tmp_path, "a", url).offer(made)
    assert machine(tmp_path, "b", url).find("sft", KEY) is not None


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
