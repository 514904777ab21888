"""Which folder a store is, and what it shares."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from accord.cli.common import StoreOption
from accord.errors import UserError
from accord.store.artifacts import Store
from accord.store.place import store_folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_is_itself():
    for given in ("runs", "/tmp/runs", "../a b", Path("runs")):
        assert store_folder(given) == Path(given)
    assert not list(Path().iterdir())
    assert Store(Path("runs")).remote is None


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("s3://team/llama", "accord-store-team-llama"),
        ("s3://team/llama/", "accord-store-team-llama"),
        ("memory://x", "accord-store-x"),
        ("gs://team/a b/../c".replace(" ", ""), "accord-store-team-ab-..-c"),
        ("file:///mnt/shared", "accord-store-mnt-shared"),
    ],
)
def test_a_url_has_a_folder(url: str, folder: str):
    assert store_folder(url) == Path(folder)
    assert store_folder(url) == Path(folder)
    assert Path(folder, "remote.txt").read_text() == url.rstrip("/") + "\n"


def test_a_store_shares_what_its_folder_says():
    store = Store(store_folder("memory://x"))
    assert store.remote is not None
    assert store.remote.url == "memory://x"


def test_two_urls_of_one_folder():
    store_folder("s3://team/llama")
    with pytest.raises(UserError, match="shares its artifacts with s3://team/llama") as caught:
        store_folder("gs://team/llama")
    assert "remote.txt" in caught.value.remedy


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("s3:/team/llama", "neither a folder nor a URL"),
        (Path("s3://team/llama"), "neither a folder nor a URL"),
        ("s3://te\nam", "not the URL"),
        ("simplecache::s3://team", None),
        ("s3://team::x", "not the URL"),
        ("ftp://me:secret@host/x", "password"),
        ("s3://[x", None),
        ("file://shared", "depends on the present folder"),
    ],
)
def test_what_is_no_place(given: str | Path, what: str | None):
    if what is None:
        store_folder(given)  # another folder's name, or an error of who opens it
        return
    with pytest.raises(UserError, match=what) as caught:
        store_folder(given)
    assert caught.value.remedy


@pytest.mark.parametrize("text", ["", "runs", "s3://a\ns3://b", "\xff"])
def test_a_folder_that_names_no_place(text: str):
    Path("store").mkdir()
    Path("store", "remote.txt").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError) as caught:
        Store(Path("store"))
    assert caught.value.where == "store/remote.txt"


@pytest.mark.skipif(find_spec("s3fs") is not None, reason="s3fs is installed")
def test_a_library_that_is_missing():
    with pytest.raises(UserError, match="s3fs") as caught:
        Store(store_folder("s3://team/llama"))
    assert caught.value.where == "s3://team/llama"
    assert caught.value.remedy == "Install it: pip install 'accord[remote]'"


def test_a_kind_of_place_that_nobody_knows():
    with pytest.raises(UserError, match="cannot be opened") as caught:
        Store(store_folder("nosuch://team/llama"))
    assert caught.value.remedy


def test_on_the_command_line():
    app = typer.Typer()

    @app.command()
    def show(store: StoreOption = Path("accord-store")) -> None:
        print(f"store {store}")

    def said(*arguments: str) -> str:
        return CliRunner().invoke(app, arguments).output

    assert said() == "store accord-store\n"
    assert said("--store", "mine") == "store mine\n"
    assert said("--store", "memory://y/z") == "store accord-store-y-z\n"
    wrong = CliRunner().invoke(app, ["--store", "s3:/team"])
    assert wrong.exit_code == 2
    assert "neither a folder" in wrong.output
