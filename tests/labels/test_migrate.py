from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text

from accord.errors import UserError
from accord.labels import migrate
from accord.labels.database import Database, sqlite_url, wal_is_safe
from accord.labels.migrate import backup, open_labels, restore
from accord.labels.schema import REVISION, metadata
from accord.labels.snapshot import said


def test_the_migrations_make_the_schema(database: Database) -> None:
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == REVISION


@pytest.mark.sqlite
def test_what_was_committed_is_on_the_disk_in_the_way_that_this_sqlite_keeps_it(database: Database) -> None:
    with database.reading() as connection:
        found = {name: connection.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous")}
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
    safe = wal_is_safe(sqlite3.sqlite_version_info[:3])
    assert found == (
        {"journal_mode": "wal", "synchronous": 2} if safe else {"journal_mode": "delete", "synchronous": 3}
    )


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ((3, 6, 9), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 9), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 52, 0), True),
    ],
)
def test_versions_of_sqlite_that_lose_commits_are_known(version: tuple[int, int, int], safe: bool) -> None:
    assert wal_is_safe(version) == safe


@pytest.mark.sqlite
def test_a_writer_has_the_lock_before_it_reads(database: Database) -> None:
    other = Database(database.url)
    with database.writing() as first:
        first.execute(text("SELECT count(*) FROM items"))
        raw = sqlite3.connect(database.url.database or "", timeout=0)
        with closing(raw), pytest.raises(sqlite3.OperationalError, match="locked"):
            raw.execute("BEGIN IMMEDIATE")
        with other.reading() as second:  # readers go on
            assert second.execute(text("SELECT count(*) FROM items")).scalar() == 0
    other.close()


def older(path: Path) -> None:
    """A database of the first schema, with an answer in it."""
    engine = create_engine(sqlite_url(path))
    with engine.begin() as connection:
        migrate._upgrade(connection, "0001")
        for row in (
            "users VALUES (1, 'Ada', 'a-1', 'annotator', NULL, 1, 5.0)",
            "campaigns VALUES (1, 'one', 1, '{}', '{}', 5.0)",
            "items VALUES (1, 1, 'first', '{}', NULL, 1, 1, 1)",
            "assignments VALUES (1, 1, 1, '[0, 1]', 'answered', 5.0, 6.0)",
            "submissions VALUES (1, 'key', 1, 'answer', '{\"ranks\": [1, 2]}', NULL, 2.0, 0, 5.5)",
            "sittings VALUES (1, 'key', 1, 1, 60.0, 5.0)",
            "attacks VALUES (1, 'key', 1, 'a harm', 'a way', 5.0)",
            "turns VALUES (1, 'key', 1, 0, 'a text', 5.0)",
        ):
            connection.execute(text(f"INSERT INTO {row}"))
    engine.dispose()


def test_an_older_database_is_refused_and_migrated_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    older(path)
    with pytest.raises(UserError, match=r"has the schema 0001, and .* is wanted\n.*accord labels migrate"):
        open_labels(path)
    database = open_labels(path, migrate=True)
    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert [one.judgement.grades for one in said(connection, 1)] == [(1.0, 0.0)]
        (turn,) = connection.execute(text("SELECT text, replays FROM turns")).all()
        assert turn == ("a text", None)
        assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
    database.close()
    with closing(sqlite3.connect(tmp_path / "labels.db.0001")) as kept:
        assert kept.execute("SELECT name FROM campaigns").fetchall() == [("one",)]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["labels.db", "labels.db.0001"]


@pytest.mark.sqlite
def test_an_older_backup_is_restored_with_this_schema_and_others_are_refused(tmp_path: Path) -> None:
    older(tmp_path / "copy.db")
    before = (tmp_path / "copy.db").read_bytes()
    database = Database(sqlite_url(restore(tmp_path / "copy.db", tmp_path / "store")))
    with database.reading() as connection:
        assert len(said(connection, 1)) == 1
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    database.close()
    assert (tmp_path / "copy.db").read_bytes() == before
    with closing(sqlite3.connect(tmp_path / "other.db")) as raw:
        raw.execute("CREATE TABLE t (x)")
    with pytest.raises(UserError, match=r"other.db: this label database has the schema of another program"):
        restore(tmp_path / "other.db", tmp_path / "second")
    assert list((tmp_path / "second").iterdir()) == []


def test_a_migration_that_fails_leaves_the_database_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "labels.db"
    older(path)
    before = path.read_bytes()

    def upgrade(connection: object) -> None:
        connection.execute(text("DELETE FROM campaigns"))  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    monkeypatch.setattr(migrate, "_upgrade", upgrade)
    with pytest.raises(KeyboardInterrupt):
        open_labels(path, migrate=True)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["labels.db"]


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    open_labels(tmp_path / "labels.db").close()
    with closing(sqlite3.connect(tmp_path / "labels.db")) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
        raw.commit()
    with pytest.raises(UserError, match="a newer Accord has written"):
        open_labels(tmp_path / "labels.db", migrate=True)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "labels.db").write_text("not a database, and longer than a hundred bytes " * 4)
    with pytest.raises(UserError, match="file is not a database"):
        open_labels(tmp_path / "labels.db")


@pytest.mark.sqlite
def test_a_backup_is_whole_and_never_overwrites(database: Database, tmp_path: Path) -> None:
    with database.writing() as connection:
        connection.execute(text("INSERT INTO campaigns VALUES (1, 'one', 1, '{}', '{}', 5.0)"))
    backup(database, tmp_path / "copy.db")
    copy = Database(sqlite_url(tmp_path / "copy.db"))
    with copy.reading() as connection:
        assert connection.execute(text("SELECT name FROM campaigns")).scalars().all() == ["one"]
    copy.close()
    with pytest.raises(UserError, match="there is a file of that name"):
        backup(database, tmp_path / "copy.db")


@pytest.mark.parametrize(("url", "why"), [("nonsense", "no address of a database"), ("mysql://x/y", "not in 'mysql'")])
def test_other_databases_are_refused(url: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        Database(url)
