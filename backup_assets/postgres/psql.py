"""How does a session run inside a container, where only the container's own psql reaches the server?"""

from __future__ import annotations

import re
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from backup_assets.errors import EnvironmentFault, TransientFault
from backup_assets.postgres.container import ENGINE_SETTING, NAME_SETTING, Container, container_fault
from backup_assets.postgres.names import is_plain
from backup_assets.postgres.server import CONNECT_TIMEOUT_SECONDS, Server, database_argument
from backup_assets.postgres.session import (
    SESSION_SETTINGS,
    Row,
    Session,
    connection_fault,
    copy_statement,
    not_utf8,
    rejected,
    shortened,
    text_value,
)
from backup_assets.process import LEFT_OUT, ProgramFailed, Running, end_group, run, started

#: A container that has not answered by then is not waited for all night.
ANSWER_SECONDS = 60
_MARK = "backup-assets-"
#: These are psql's own words, which are English by LC_ALL.
_CONNECTION_LOST = ("server closed the connection", "connection to server was lost")
#: The code in an error, which a verbose psql tells; the severity before it is in the server's language.
_CODE = re.compile(r"^(?P<severity>[^\s:]+:  )(?P<code>[0-9A-Z]{5}): ", re.MULTILINE)
#: What a verbose psql tells besides.
_VERBOSE = re.compile(r"(?:LOCATION|(?:SCHEMA|TABLE|COLUMN|DATATYPE|CONSTRAINT) NAME):  ")
#: Codes of notices and of warnings begin so.
_NO_ERROR = ("00", "01")

_UNESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ESCAPE = re.compile(r"\\(.)")


def _decode(field: str) -> str | None:
    if field == "\\N":
        return None
    return _ESCAPE.sub(lambda match: _UNESCAPED.get(match[1], match[1]), field) if "\\" in field else field


class _EndedError(BrokenPipeError):
    """Says that psql is gone, until its exit status and its last words are known."""


class _Psql:
    """A psql that stays open: COPY's text format on its output, a random line after each statement.

    It goes on after a rejected statement, as a connection does: the line says whether psql saw the statement succeed.
    """

    def __init__(self, running: Running, server: Server, database: str) -> None:
        self._running = running
        self._server = server
        self._database = database
        self._backend: str | None = None
        self.overdue = threading.Event()

    def begin(self) -> None:
        """Fix what the session writes, and note who it is."""

        def expire() -> None:
            self.overdue.set()
            end_group(self._running.process)

        timer = threading.Timer(ANSWER_SECONDS, expire)
        timer.daemon = True
        timer.start()
        try:
            for name, value in SESSION_SETTINGS.items():
                self.execute(f"SET {name} = '{value}'")
            self._backend = text_value(self, "SELECT pg_catalog.pg_backend_pid()")
        finally:
            timer.cancel()

    @property
    def answered(self) -> bool:
        """Whether the server was reached."""
        return self._backend is not None

    def _send(self, statement: str) -> str:
        if not is_plain(statement):  # psql would wait for the rest, or do what the command says
            raise self._fault("a quote or a comment is not closed, or a command of psql stands in it", statement)
        token = f"{_MARK}{uuid.uuid4().hex}"
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
        raise _EndedError(f"psql in {self._server.place} ended")

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
        starts = [number for number, line in enumerate(lines) if line.startswith(_MARK) and line != token]
        own = [line for line in lines[starts[-1] + 1 if starts else 0 :] if line != token]
        # The excerpt of the statement may hold a secret; what may be shown of it is added by the caller.
        return "\n".join(line for line in own if not re.match(r"LINE \d+:|\s*\^$", line)) or "no message"

    def _fault(self, said: str, statement: str) -> EnvironmentFault:
        lost = any(sign in said for sign in _CONNECTION_LOST)
        codes = [found["code"] for found in _CODE.finditer(said) if not found["code"].startswith(_NO_ERROR)]
        why = f"{_plain(said)} in: {shortened(statement)}"
        return rejected(self._server.place, why, codes[-1] if codes else "", lost=lost)

    def rows(self, query: str, *, header: bool = False) -> Iterator[Row]:
        try:
            for line in self._lines(copy_statement(query, header=header)):
                yield tuple(_decode(field) for field in line.split("\t"))
        except UnicodeDecodeError as error:
            raise not_utf8(self._server.place, error, query) from None

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


def _plain(said: str) -> str:
    """Return what a verbose psql said as one that is not verbose says it."""
    shown = (line for line in said.splitlines() if not _VERBOSE.match(line))
    return _CODE.sub(r"\g<severity>", "\n".join(shown))


def _psql_argv(server: Server, database: str, *arguments: str) -> list[str]:
    options = (
        "--no-psqlrc",
        "--quiet",
        "--tuples-only",
        "--no-align",
        "--set=SHOW_CONTEXT=never",
        "--set=VERBOSITY=verbose",
    )
    return server.argv(None, "psql", *options, "--dbname", database_argument(database), *arguments)


@contextmanager
def inside_container(server: Server, container: Container, database: str, timeout: float) -> Iterator[Session]:
    """Yield a session through the container's own psql, ended after ``timeout`` seconds; raises as `open_session` does.

    Also raises EnvironmentFault when there is no such container or engine, TransientFault when it does not run.
    """
    session: _Psql | None = None
    from_block: BaseException | None = None
    argv, environment = _psql_argv(server, database), server.environment()
    try:
        with started(argv, timeout=timeout, env=environment, stdin=None, stdout=subprocess.PIPE) as running:
            session = _Psql(running, server, database)
            session.begin()
            try:
                yield session
            except BaseException as error:
                from_block = error
                raise
    except _EndedError as error:  # and its exit status was 0
        raise TransientFault(f"PostgreSQL at {server.place} lost the session", why=str(error)) from None
    except EnvironmentFault as fault:
        if fault is from_block:
            raise
        raise _lost(server, container, database, session, fault) from fault.__cause__


def _asked_again(server: Server, container: Container, database: str) -> str:
    """Return why psql cannot connect, when the engine has not passed on what it said.

    Podman now and then loses it (1 of 278 times, 4.3) where the input has something that psql did not live to read:
    here there is none.
    """
    try:
        run(_psql_argv(server, database, "--command=SELECT 1"), timeout=ANSWER_SECONDS, env=server.environment())
    except EnvironmentFault as fault:
        return _plain(container_fault(container, "psql", fault).why)
    return "psql ended without a word, and connects now"


def _lost(
    server: Server, container: Container, database: str, session: _Psql | None, fault: EnvironmentFault
) -> EnvironmentFault:
    """Return why the psql of a session ended before it was asked to."""
    if session is not None and session.overdue.is_set():
        return TransientFault(
            f"{container} did not answer within {ANSWER_SECONDS} s",
            remedy=f"is it paused, is the engine's service well? See {NAME_SETTING} and {ENGINE_SETTING}",
        )
    found = container_fault(container, "psql", fault)
    if not isinstance(found, ProgramFailed):
        return found
    end = found.stderr.rpartition(f"{LEFT_OUT}\n")[2]  # the first errors are those of statements long ago
    why = _plain("\n".join(line for line in end.splitlines() if not line.startswith(_MARK)))
    if session is None or not session.answered:
        return connection_fault(server, database, why or _asked_again(server, container, database))
    return TransientFault(f"PostgreSQL at {server.place} lost the session", why=why, remedy="see the server's log")
