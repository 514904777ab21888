"""The database behind a URL: SQLite in the store by default, PostgreSQL for teams.

A transaction that has ended is on the disk. SQLite before 3.51.3 (and 3.50.7, 3.44.6) can lose commits of two writing
connections in WAL mode, so it keeps a rollback journal there. Writers begin by taking SQLite's write lock, so that
nothing that was read can change before it is written.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, Table, create_engine, event, insert
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DataError, IntegrityError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import QueuePool

from accord.errors import UserError, first_line
from accord.labels.refusals import Unfit

FILE: Final = "labels.db"
_BUSY_SECONDS: Final = 30
_FIXED_WAL: Final = ((3, 44, 6), (3, 50, 7), (3, 51, 3))


def sqlite_url(path: Path) -> URL:
    return URL.create("sqlite", database=str(path))


def wal_is_safe(version: tuple[int, int, int]) -> bool:
    """Whether this SQLite keeps the commits of several writing connections in WAL mode.

    >>> wal_is_safe((3, 40, 1)), wal_is_safe((3, 44, 6)), wal_is_safe((3, 45, 0)), wal_is_safe((3, 51, 3))
    (False, True, False, True)
    """
    return version >= max(_FIXED_WAL) or any(version[:2] == fixed[:2] and version >= fixed for fixed in _FIXED_WAL)


class Database:
    """clock: seconds since 1970."""

    def __init__(self, url: str | URL, clock: Callable[[], float] = time.time) -> None:
        self.url, self.now = _url(url), clock
        self.engine = _engine(self.url)

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that may write. Once it has ended without an error, what it wrote is on the disk."""
        options = self.engine.execution_options(accord_writes=True)
        with self._errors(), options.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of everything, and writes nothing."""
        options = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        engine = self.engine.execution_options(**options)
        with self._errors(), engine.connect() as connection, connection.begin():
            yield connection

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """A database that is not there, full or busy for long is an error of the user's; a wrong statement is ours."""
        try:
            yield
        except DataError as error:  # what SQLite takes and PostgreSQL does not, such as a text with a NUL
            raise Unfit(f"this cannot be stored: {first_line(error.orig or error)}") from error
        except DatabaseError as error:
            if type(error) not in (OperationalError, DatabaseError, IntegrityError):
                raise  # of an IntegrityError: somebody else did the same at the same moment, and it can be tried again
            raise UserError(
                f"the label database cannot be used: {first_line(error.orig or error)}",
                where=self.url.render_as_string(hide_password=True),
                remedy="Check that it is there, that its disk has room and that you may write to it.",
            ) from error


def inserted(connection: Connection, table: Table, **values: Any) -> int:
    """Adds a row, and returns its id."""
    key = connection.execute(insert(table).values(**values)).inserted_primary_key
    assert key is not None
    return int(key[0])


def _url(given: str | URL) -> URL:
    try:
        url = make_url(given)
    except (ArgumentError, ValueError) as error:
        remedy = "Write postgresql://USER@HOST/NAME, or leave it out: then a file in the store is used."
        raise UserError("this is no address of a database", where=str(given)[:200], remedy=remedy) from error
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise UserError("a database in memory would forget its labels", where=str(url), remedy="Name a file.")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise UserError(
            f"labels are kept in SQLite or PostgreSQL, not in {url.get_backend_name()!r}",
            where=url.render_as_string(hide_password=True),
            remedy="Write postgresql://USER@HOST/NAME, or leave it out: then a file in the store is used.",
        )
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url)
    try:
        return create_engine(url, pool_pre_ping=True, pool_size=20, max_overflow=20)
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise UserError(
            "PostgreSQL is spoken through psycopg, which is not installed",
            remedy="Install it: pip install 'accord[postgres]'.",
        ) from error


def _sqlite_engine(url: URL) -> Engine:
    options = {"timeout": _BUSY_SECONDS, "check_same_thread": False}
    engine = create_engine(url, connect_args=options, poolclass=QueuePool, pool_size=20, max_overflow=40)
    journal = "WAL" if wal_is_safe(sqlite3.sqlite_version_info[:3]) else "DELETE"
    synchronous = "FULL" if journal == "WAL" else "EXTRA"

    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: object) -> None:
        connection.isolation_level = None  # transactions begin where we say so
        for pragma in (f"journal_mode={journal}", f"synchronous={synchronous}", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("accord_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
