"""One SQL session with a server, the same over the wire and inside a container: rows come as the server's text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import psycopg
from psycopg import sql as composed

from backup_assets.errors import EnvironmentFault, TransientFault
from backup_assets.postgres.server import CONNECT_TIMEOUT_SECONDS, Server

#: Text is compared with text, so that everything which changes how a server writes a value is fixed. Limits that
#: a role or database may carry would end the exported snapshot under a long dump.
SESSION_SETTINGS = {
    "statement_timeout": "0",  # first, for it limits every other one
    "client_encoding": "UTF8",
    "datestyle": "ISO, YMD",
    "timezone": "UTC",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "row_security": "off",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "jit": "off",
}

#: PostgreSQL's codes of errors (its Appendix A), which do not depend on the language of a server's messages.
LOCK_NOT_AVAILABLE = "55P03"
OBJECT_IN_USE = "55006"
#: Of lost connections, and of a server that ends them.
_LOST = ("08", "57P")

#: How a server refuses a connection: libpq does not tell the code of that. In Japanese as well (`lc_messages`), as
#: PostgreSQL's catalog ja.po has it.
_ABSENT = ("does not exist", "は存在しません")
_NOT_LET_IN = ("password", "authentication", "パスワード", "認証", "pg_hba.conf")


class LockedOut(EnvironmentFault):
    """Another session has kept something locked for longer than this one was told to wait."""


def locked_out(place: str, why: str) -> LockedOut:
    """Return the error for a statement that waited for a lock in vain."""
    return LockedOut(
        f"PostgreSQL at {place} did not give a lock in time",
        why=why,
        remedy="find the session that holds it (pg_locks, pg_stat_activity; a migration, VACUUM FULL, a transaction "
        "that was left open), let it end, and try again",
    )


def rejected(place: str, why: str, sqlstate: str, *, lost: bool = False) -> EnvironmentFault:
    """Return the error for a statement that a server rejected with ``sqlstate``, or that was lost with its session."""
    what = f"PostgreSQL at {place} rejected or lost a statement"
    if sqlstate == LOCK_NOT_AVAILABLE:
        fault: EnvironmentFault = locked_out(place, why)
    elif lost or sqlstate.startswith(_LOST):
        fault = TransientFault(what, why=why)
    else:
        fault = EnvironmentFault(what, why=why)
    fault.sqlstate = sqlstate
    return fault


def not_utf8(place: str, error: UnicodeDecodeError, query: str) -> EnvironmentFault:
    """Return the error for an answer that is no text."""
    return EnvironmentFault(
        f"PostgreSQL at {place} holds a name or text that is not UTF-8",
        why=f"{error.reason} at byte {error.start} of an answer to: {shortened(query)}",
        remedy="in a database of the encoding in which it was made, rename that role or database in latin letters; a "
        "restore goes on with --without-roles",
    )


Row = tuple[str | None, ...]


class Session(Protocol):
    """Runs statements one after the other; used by one thread at a time."""

    def rows(self, query: str, *, header: bool = False) -> Iterator[Row]:
        """Yield the rows of one query as text (None for NULL), streaming; with ``header`` the column names first."""
        ...

    def execute(self, statement: str) -> None:
        """Run one statement that returns nothing of interest."""
        ...

    def interrupt(self) -> None:
        """End what another thread is running in this session; that thread gets an error."""
        ...


def one_row(session: Session, query: str) -> Row:
    """Return the only row of a query; raises EnvironmentFault when there is another number of them."""
    rows = list(session.rows(query))
    if len(rows) != 1:
        raise EnvironmentFault(f"a query returned {len(rows)} rows instead of one", why=query)
    return rows[0]


def one_value(session: Session, query: str) -> str | None:
    """Return the only column of the only row of a query."""
    return one_row(session, query)[0]


def text_value(session: Session, query: str) -> str:
    """Return one value that is never NULL."""
    value = one_value(session, query)
    if value is None:
        raise EnvironmentFault("a query returned NULL", why=query)
    return value


@contextmanager
def open_session(server: Server, database: str, *, timeout: float = 12 * 3600.0) -> Iterator[Session]:
    """Yield a session with fixed output settings; ``timeout`` in seconds bounds one inside a container.

    Raises TransientFault when the server cannot be reached, EnvironmentFault for a wrong password or database.
    """
    # Imported here because it builds on what stands below.
    from backup_assets.postgres.psql import inside_container

    if server.container is None:
        with _direct(server, database) as session:
            yield session
    else:
        with inside_container(server, server.container, database, timeout) as session:
            yield session


def copy_statement(query: str, *, header: bool) -> str:
    """Return the statement that sends a query's rows as text, one a line."""
    return f"COPY ({query}\n) TO STDOUT" + (" WITH (HEADER true)" if header else "")


class _Direct:
    def __init__(self, connection: psycopg.Connection[Any], place: str) -> None:
        self._connection = connection
        self._place = place

    def rows(self, query: str, *, header: bool = False) -> Iterator[Row]:
        statement = composed.SQL(copy_statement(query, header=header))  # type: ignore[arg-type]
        try:
            with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
                yield from copy.rows()
        except UnicodeDecodeError as error:  # names of roles and databases are kept in the encoding of their makers
            raise not_utf8(self._place, error, query) from None
        except psycopg.Error as error:
            raise _statement_fault(error, query, self._place) from None

    def execute(self, statement: str) -> None:
        try:
            self._connection.execute(composed.SQL(statement))  # type: ignore[arg-type]
        except psycopg.Error as error:
            raise _statement_fault(error, statement, self._place) from None

    def interrupt(self) -> None:
        # Where the server cannot be reached any more, the other thread meets that error by itself.
        with suppress(psycopg.Error):
            self._connection.cancel_safe(timeout=CONNECT_TIMEOUT_SECONDS)


def shortened(statement: str) -> str:
    """Return the beginning of a statement on one line, as errors show it."""
    return re.sub(r"\s+", " ", statement)[:200]


def _statement_fault(error: psycopg.Error, statement: str, place: str) -> EnvironmentFault:
    # psycopg's own text adds an excerpt of the statement, which may hold a secret.
    primary, detail = error.diag.message_primary, error.diag.message_detail
    words = "\n".join(part for part in (primary, detail) if part) or str(error).strip()
    lost = isinstance(error, psycopg.OperationalError) and not error.sqlstate
    return rejected(place, f"{words} in: {shortened(statement)}", error.sqlstate or "", lost=lost)


@contextmanager
def _direct(server: Server, database: str) -> Iterator[Session]:
    options = {
        "host": server.host,
        "port": server.port,
        "user": server.user,
        "password": server.password.get_secret_value() if server.password else None,
        "sslmode": server.sslmode,
        "sslrootcert": str(server.sslrootcert) if server.sslrootcert else None,
    }
    try:
        connection = psycopg.connect(
            dbname=database,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            application_name="backup_assets",
            keepalives_idle=30,
            **{name: value for name, value in options.items() if value is not None},
        )
    except psycopg.OperationalError as error:
        raise connection_fault(server, database, str(error)) from None
    with connection:
        session = _Direct(connection, server.place)
        for name, value in SESSION_SETTINGS.items():
            session.execute(f"SET {name} = '{value}'")
        yield session


def connection_fault(server: Server, database: str, why: str) -> EnvironmentFault:
    """Return the error that says why a server could not be reached, and which settings to look at."""
    why = " ".join(why.split())
    if server.password:
        why = why.replace(server.password.get_secret_value(), "***")
    what = f"cannot connect to database {database} at {server.place} as {server.user}"
    if any(words in why for words in _ABSENT):
        return EnvironmentFault(what, why=why, remedy="check DB_NAME and DB_USER (or database and user in backup.yaml)")
    if any(words in why for words in _NOT_LET_IN):
        return EnvironmentFault(
            what, why=why, remedy="check DB_USER and DB_PASSWORD (or server.password in backup.yaml) and pg_hba.conf"
        )
    where = "DB_CONTAINER" if server.container else "DB_HOST"
    remedy = f"check that the server runs, and {where} and DB_PORT (or server in backup.yaml)"
    if "FATAL" in why and ("??" in why or not why.isascii()):
        # Before it knows the database, a server writes what its own environment's locale cannot hold as question marks.
        remedy += ", then DB_NAME, DB_USER and DB_PASSWORD: the server's log says which of them it refused"
    return TransientFault(what, why=why, remedy=remedy)
