"""From an older schema to this one.

SQLite cannot change a schema within a transaction that other tools would trust, so a file is copied, the copy is
changed and checked, and then takes the file's place; what was there before stays beside it. PostgreSQL does it in one
transaction.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine, func, select

from accord.errors import UserError
from accord.labels.database import FILE, Database, sqlite_url
from accord.labels.schema import REVISION
from accord.store.atomic import disk_errors, files
from accord.store.lock import lock

_LOCK: Final = 0xACC02D
LABELS: Final = "ACCORD_LABELS"  # names a PostgreSQL database in place of the store's file


def open_labels(url: str | Path, *, migrate: bool = False) -> Database:
    """The database at a URL or in a file, made when it is not there.

    migrate: bring an older one to this schema. Raises UserError for one that is older, or newer than this program.
    """
    database = Database(sqlite_url(url) if isinstance(url, Path) else url)
    if database.is_sqlite:
        path = Path(database.url.database or "")
        with disk_errors(path), lock(path.with_name(f".{path.name}.lock"), f"the label database {path}", wait=True):
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                _replace(path, None)
            elif _is_old(database) and migrate:
                database.close()
                _replace(path, path)
    else:
        with database.writing() as connection:
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))  # of two who start at once one waits
            if _revision(connection) is None or migrate:
                _upgrade(connection)
    _refuse_other(database)
    return database


def labels_of_store(store: Path, *, migrate: bool = False) -> Database:
    """The labels that go with a store: in its `labels.db`, or where ACCORD_LABELS says. Raises UserError."""
    return open_labels(os.environ.get(LABELS) or store / FILE, migrate=migrate)


def backup(database: Database, target: Path) -> None:
    """Copies a SQLite database that may be in use, all of one moment. Raises UserError."""
    if not database.is_sqlite:
        remedy = "Use pg_dump, which knows how to."
        raise UserError("Accord copies databases of SQLite only", where=str(target), remedy=remedy)
    if target.exists():
        raise UserError("there is a file of that name", where=str(target), remedy="Name another one.")
    if not target.parent.is_dir():
        raise UserError("there is no such folder", where=str(target.parent), remedy="Make it, or name another file.")
    temp = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    with disk_errors(target):
        try:
            _copy(Path(database.url.database or ""), temp)
            _check(temp, target)
            _put(temp, target)
        finally:
            with suppress(OSError):
                temp.unlink(missing_ok=True)


def restore(source: Path, store: Path) -> Path:
    """Makes a copy of a database the store's own, of this schema where it has an older one. Raises UserError where
    anything of another one is there."""
    target = store / FILE
    left = [target, *(target.with_name(f"{FILE}{ending}") for ending in ("-journal", "-wal", "-shm"))]
    if there := [str(path) for path in left if path.exists()]:
        what = f"the store has labels already: {', '.join(there)}"
        raise UserError(what, where=str(store), remedy="Move these away together, or name another --store.")
    if not source.is_file():
        raise UserError("there is no such file", where=str(source), remedy="Check the path.")
    temp = target.with_name(f".{FILE}.{os.getpid()}.tmp")
    with disk_errors(target):
        store.mkdir(parents=True, exist_ok=True)
        try:
            _copy(source, temp)
            _check(temp, source)
            _bring_up(temp, source)
            _put(temp, target)
        finally:
            with suppress(OSError):
                temp.unlink(missing_ok=True)
    return target


def _bring_up(temp: Path, source: Path) -> None:
    """To this schema. Raises UserError for what is no label database, or a newer one's."""
    engine = create_engine(sqlite_url(temp))
    try:
        with engine.begin() as connection:
            if (found := _revision(connection)) is not None and found < REVISION:
                _upgrade(connection)
            else:
                _refuse(found, str(source))
    finally:
        engine.dispose()


def _replace(path: Path, source: Path | None) -> None:
    """Makes `path` a database of this schema, from `source` or from nothing. Its older self stays as FILE.REVISION."""
    temp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if source is not None:
            _copy(source, temp)
        engine = create_engine(sqlite_url(temp))
        with engine.begin() as connection:
            before = _revision(connection)
            _upgrade(connection)
        engine.dispose()
        _check(temp, path)
        if source is not None:
            kept = path.with_name(f"{path.name}.{before}")
            _copy(source, kept)
            files.fsync(kept)
        _put(temp, path)
    finally:
        with suppress(OSError):
            temp.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as ours, closing(sqlite3.connect(target)) as theirs:
        ours.backup(theirs)


def _check(path: Path, name: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        ((found,),) = connection.execute("PRAGMA integrity_check").fetchall()[:1]
    if found != "ok":
        raise UserError(f"the database is damaged: {found}", where=str(name), remedy="Take a backup of it instead.")


def _put(temp: Path, path: Path) -> None:
    files.fsync(temp)
    files.rename(temp, path)
    files.fsync(path.parent)


def _upgrade(connection: Connection, to: str = "head") -> None:
    config = Config()
    config.set_main_option("script_location", "accord.labels:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, to)


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _is_old(database: Database) -> bool:
    with database.reading() as connection:
        return (_revision(connection) or "") < REVISION


def _refuse_other(database: Database) -> None:
    with database.reading() as connection:
        found = _revision(connection)
    _refuse(found, database.url.render_as_string(hide_password=True))


def _refuse(found: str | None, where: str) -> None:
    """Raises UserError for another schema than this one."""
    if found == REVISION:
        return
    if found is not None and found > REVISION:
        remedy = "Use the newer one, or another store."
        raise UserError("a newer Accord has written this label database", where=where, remedy=remedy)
    what = f"this label database has the schema {found or 'of another program'}, and {REVISION} is wanted"
    raise UserError(what, where=where, remedy="Stop what uses it, then run `accord labels migrate`: a copy is kept.")
