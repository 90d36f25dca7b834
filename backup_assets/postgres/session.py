"""One SQL session with a server, the same over the wire and inside a container: rows come as the server's text."""

from __future__ import annotations

import re
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import psycopg
from psycopg import sql as composed

from backup_assets.errors import EnvironmentFault, TransientFault
from backup_assets.postgres.server import CONNECT_TIMEOUT_SECONDS, Server, database_argument
from backup_assets.process import Running, end_group, started

#: Text is compared with text, so that everything which changes how a server writes a value is fixed. Limits that
#: a role or database may carry would end the exported snapshot under a long dump.
SESSION_SETTINGS = {
    "client_encoding": "UTF8",
    "datestyle": "ISO, YMD",
    "timezone": "UTC",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "row_security": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "jit": "off",
}

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
    if server.container is None:
        with _direct(server, database) as session:
            yield session
    else:
        with _inside_container(server, database, timeout) as session:
            yield session


def _copy(query: str, *, header: bool) -> str:
    return f"COPY ({query}\n) TO STDOUT" + (" WITH (HEADER true)" if header else "")


class _Direct:
    def __init__(self, connection: psycopg.Connection[Any], place: str) -> None:
        self._connection = connection
        self._place = place

    def rows(self, query: str, *, header: bool = False) -> Iterator[Row]:
        try:
            with self._connection.cursor() as cursor, cursor.copy(composed.SQL(_copy(query, header=header))) as copy:  # type: ignore[arg-type]
                yield from copy.rows()
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


def _statement_fault(error: psycopg.Error, statement: str, place: str) -> EnvironmentFault:
    short = re.sub(r"\s+", " ", statement)[:200]
    lost = isinstance(error, psycopg.OperationalError) and not error.sqlstate
    kind = TransientFault if lost or (error.sqlstate or "").startswith(("08", "57P")) else EnvironmentFault
    return kind(f"PostgreSQL at {place} rejected or lost a statement", why=f"{str(error).strip()} in: {short}")


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
    if "does not exist" in why:
        return EnvironmentFault(what, why=why, remedy="check DB_NAME and DB_USER (or database and user in backup.yaml)")
    if "password" in why or "authentication" in why or "no pg_hba.conf entry" in why:
        return EnvironmentFault(
            what, why=why, remedy="check DB_USER and DB_PASSWORD (or server.password in backup.yaml) and pg_hba.conf"
        )
    return TransientFault(
        what, why=why, remedy="check that the server runs, and DB_HOST and DB_PORT (or server in backup.yaml)"
    )


_UNESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ESCAPE = re.compile(r"\\(.)")


def _decode(field: str) -> str | None:
    if field == "\\N":
        return None
    return _ESCAPE.sub(lambda match: _UNESCAPED.get(match[1], match[1]), field) if "\\" in field else field


class _Psql:
    """A psql that stays open: COPY's text format on its output, a random line after each statement.

    It goes on after a rejected statement, as a connection does: the line says whether psql saw the statement succeed.
    """

    def __init__(self, running: Running, server: Server, database: str) -> None:
        self._running = running
        self._server = server
        self._database = database
        self._backend: str | None = None

    def begin(self) -> None:
        """Fix what the session writes, and note who it is."""
        # A psql that reads from a pipe is asked once more than needed, so that nobody waits for an engine that hangs.
        overdue = threading.Timer(ANSWER_SECONDS, end_group, [self._running.process])
        overdue.daemon = True
        overdue.start()
        try:
            for name, value in SESSION_SETTINGS.items():
                self.execute(f"SET {name} = '{value}'")
            self._backend = text_value(self, "SELECT pg_catalog.pg_backend_pid()")
        finally:
            overdue.cancel()

    @property
    def answered(self) -> bool:
        """Whether the server was reached."""
        return self._backend is not None

    def _send(self, statement: str) -> str:
        if not is_plain(statement):
            raise self._fault("a quote or a comment is not closed, or a command of psql stands in it", statement)
        token = f"backup-assets-{uuid.uuid4().hex}"
        # Set beforehand, because psql before 16 leaves ERROR as it was when a COPY fails.
        script = f"\\set ERROR pending\n{statement}\n;\n\\warn {token}\n\\echo {token} :ERROR\n"
        try:
            self._running.stdin.write(script.encode())
            self._running.stdin.flush()
        except BrokenPipeError:
            self._end()
        return token

    def _end(self) -> NoReturn:
        # psql left because its connection was lost or never came about: its exit status and stderr become the error.
        with suppress(subprocess.TimeoutExpired):
            self._running.process.wait(timeout=ANSWER_SECONDS)
        raise BrokenPipeError(f"psql in {self._server.place} ended")

    def _lines(self, statement: str) -> Iterator[str]:
        """Run a statement and yield what it prints, without line ends; raises EnvironmentFault when it is rejected."""
        token = self._send(statement)
        ended = False
        try:
            while True:
                line = self._running.stdout.readline()
                ended = not line or line.startswith(token.encode())
                if not line:
                    self._end()
                if ended:
                    break
                yield line.decode().removesuffix("\n")
        finally:
            while not ended:  # the reader has had enough: the rest is not the next statement's
                line = self._running.stdout.readline()
                ended = not line or line.startswith(token.encode())
        if line.decode() != f"{token} false\n":
            raise self._fault(self._messages(token), statement)

    def _messages(self, token: str) -> str:
        """Return what psql said on stderr about the last statement, whose end there is the token as well."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            lines = [line.decode("utf-8", "replace").rstrip() for line in self._running.stderr_lines.copy()]
            if token in lines or time.monotonic() > deadline:
                break
            time.sleep(0.01)
        earlier = [number for number, line in enumerate(lines) if line.startswith("backup-assets-") and line != token]
        own = [line for line in lines[earlier[-1] + 1 if earlier else 0 :] if line != token]
        # The excerpt of the statement may hold a secret, and the statement is named anyway.
        return "\n".join(line for line in own if not re.match(r"LINE \d+:|\s*\^$", line))

    def _fault(self, why: str, statement: str) -> EnvironmentFault:
        return EnvironmentFault(
            f"PostgreSQL at {self._server.place} rejected a statement", why=f"{why} in: {_shortened(statement)}"
        )

    def rows(self, query: str, *, header: bool = False) -> Iterator[Row]:
        for line in self._lines(_copy(query, header=header)):
            yield tuple(_decode(field) for field in line.split("\t"))

    def execute(self, statement: str) -> None:
        for _ in self._lines(statement):
            pass

    def interrupt(self) -> None:
        # Without its client the server would work on to the statement's end.
        cancel = f"SELECT pg_catalog.pg_cancel_backend({self._backend})"
        argv = _psql_argv(self._server, self._database, "--command", cancel)
        with suppress(EnvironmentFault):
            run(argv, timeout=CONNECT_TIMEOUT_SECONDS, env=self._server.environment())
        end_group(self._running.process)


def _psql_argv(server: Server, database: str, *arguments: str) -> list[str]:
    options = ("--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=SHOW_CONTEXT=never")
    return server.argv(None, "psql", *options, "--dbname", database_argument(database), *arguments)


@contextmanager
def _inside_container(server: Server, database: str, timeout: float) -> Iterator[Session]:
    session: _Psql | None = None
    try:
        with (
            container_faults(server.container, "psql"),
            started(
                _psql_argv(server, database),
                timeout=timeout,
                env=server.environment(),
                stdin=None,
                stdout=subprocess.PIPE,
            ) as running,
        ):
            session = _Psql(running, server, database)
            session.begin()
            yield session
    except ProgramFailed as failure:
        if "psql in " not in failure.what:
            raise  # another program's, from the block
        if session is None or not session.answered:
            raise connection_fault(server, database, failure.why) from None
        raise TransientFault(
            f"PostgreSQL at {server.place} rejected or lost a statement", why=_without_tokens(failure.stderr)
        ) from failure
