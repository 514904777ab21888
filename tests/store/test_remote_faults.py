"""Stores that share a place, where something fails on the way: writes, readers, the place itself, single bits."""

from __future__ import annotations

import errno
import itertools
from contextlib import suppress
from pathlib import Path

import pytest

from accord.errors import UserError
from accord.store.objects import Away, Objects
from accord.store.remote import Remote
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
