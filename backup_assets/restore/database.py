"""How a dump is put into a new database of a server, under any name, with the properties of the original."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backup_assets.capture.directory_dump import unpack_directory_dump
from backup_assets.capture.dump import decompress
from backup_assets.errors import CheckFailed, EnvironmentFault
from backup_assets.files import CHUNK_BYTES
from backup_assets.postgres.clients import Clients, choose_clients, newest_reader
from backup_assets.postgres.container import container_faults
from backup_assets.postgres.names import quote_literal, quote_name, statements
from backup_assets.postgres.server import Server, database_argument
from backup_assets.postgres.session import Session, one_value, open_session
from backup_assets.process import Output, ProgramFailed, require_not_killed, run, started
from backup_assets.restore.archive_text import declared_encoding, encoding_of, text_of
from backup_assets.restore.server_words import (
    CREATE_THE_ROLE,
    USE_A_SUPERUSER,
    is_not_the_archive,
    is_superuser,
    lacks_locale,
    lacks_right,
    lacks_role,
    of_pg_restore,
    of_session,
    speaking_english,
)
from backup_assets.sets.manifest import Artifact
from backup_assets.stores.disk_faults import explained

_DATABASE_ENTRY = re.compile(r"\d+; \d+ \d+ (?:DATABASE(?: PROPERTIES)? - |(?:ACL|COMMENT|SECURITY LABEL) - DATABASE )")
_TABLE_DATA = re.compile(r"\d+; \d+ \d+ TABLE DATA (?P<rest>.+)")
_NOT_ALONE = re.compile(r"\d+; \d+ \d+ FK CONSTRAINT (?P<rest>.+)")
_NAME = r'(?:"(?:[^"]|"")+"|[^\s";]+)'
_CONSTRAINT_COMMENT = re.compile(
    rf"\d+; \d+ \d+ COMMENT (?P<schema>.+?) CONSTRAINT (?P<name>{_NAME}) ON (?P<table>{_NAME}) "
)
_NAMED = re.compile(rf"(?P<before>^(?:CREATE|ALTER|COMMENT ON) DATABASE | ON DATABASE | IN DATABASE ){_NAME}")
_TABLESPACE = re.compile(rf" TABLESPACE = {_NAME}")


@dataclass(frozen=True)
class Archive:
    """A dump in a form that pg_restore reads with several jobs: a custom-format file or a directory."""

    path: Path
    directory_format: bool


@contextmanager
def opened_archive(path: Path, artifact: Artifact, workdir: Path) -> Iterator[Archive]:
    """Yield a stored dump as pg_restore wants it, unpacked below ``workdir`` where that is needed.

    Raises CheckFailed when it is damaged, EnvironmentFault when there is no room for it.
    """
    if artifact.format == "pg_custom":
        yield Archive(path, directory_format=False)
        return
    temporary = Path(tempfile.mkdtemp(prefix="archive-", dir=workdir))
    try:
        if artifact.format == "pg_directory.tar":
            yield Archive(unpack_directory_dump(path, temporary), directory_format=True)
            return
        plain = temporary / "database.dump"
        with explained(f"unpack {path.name}", workdir), plain.open("wb") as handle:
            decompress(path, handle)
        yield Archive(plain, directory_format=False)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _listing(clients: Clients, archive: Archive, *, create: bool) -> Output:
    arguments = ["--list", *(("--create",) if create else ()), str(archive.path)]
    return run([clients.program("pg_restore"), *arguments], timeout=600)


def _entries(listing: str) -> list[str]:
    # Not splitlines: that takes some letters of other encodings, and some in names, for ends of lines.
    return [line for line in listing.split("\n") if line and not line.startswith(";")]


def database_statements(clients: Clients, archive: Archive, workdir: Path, session: Session) -> tuple[str, list[str]]:
    """Return the archive's CREATE DATABASE statement, and those that set the database's properties afterwards.

    ``session``: of the server that they are for; see `text_of`.
    """
    # Of each line only the number and the kind matter here, which are ASCII.
    entries = [line for line in _entries(_listing(clients, archive, create=True).stdout) if _DATABASE_ENTRY.match(line)]
    if not entries:
        raise CheckFailed(
            "the dump does not say how to create its database",
            why="it was made without --create",
            remedy="create an empty database by hand and restore with pg_restore",
        )
    chosen = workdir / "database-entries"
    chosen.write_text("\n".join(entries) + "\n", encoding="utf-8")
    argv = [clients.program("pg_restore"), "--create", f"--use-list={chosen}", "--file=-", str(archive.path)]
    printed = run(argv, timeout=600).raw
    script = text_of(printed, declared_encoding(printed), session)
    found = [s for s in statements(script) if not s.startswith(("SET ", "SELECT pg_catalog.set_config"))]
    if not found or not found[0].startswith("CREATE DATABASE "):
        begins = f"it begins with {_kind(found[0])}" if found else "it is empty"
        raise CheckFailed("the dump does not say how to create its database", why=begins)
    return found[0], found[1:]


def rename_in(statement: str, name: str) -> str:
    """Return a statement about a database with another database's name; raises CheckFailed when it names none."""
    renamed, count = _NAMED.subn(lambda match: match["before"] + quote_name(name), statement, count=1)
    if count != 1:
        raise CheckFailed(
            "a statement about the database cannot be applied under another name", why=f"it is {_kind(statement)}"
        )
    return renamed


def _kind(statement: str) -> str:
    """Return how a statement of a dump begins: the rest may hold a secret."""
    return " ".join(statement.split()[:2])


def create_database(session: Session, statement: str, name: str, *, keep_tablespace: bool) -> None:
    """Create an empty database ``name`` as ``statement`` of the archive describes its own.

    Raises EnvironmentFault, naming the locale where it is not installed on the server.
    """
    if not keep_tablespace:
        statement = _TABLESPACE.sub("", statement)
    try:
        session.execute(rename_in(statement, name))
    except EnvironmentFault as error:
        remedy = "look at the server's log"
        if lacks_locale(of_session(error.why)):
            remedy = (
                "install that locale on the server's machine (locale-gen), use server programs built with ICU, or "
                "name a server that has it: verification.scratch in backup.yaml, --to-host for a restore"
            )
        why = of_session(error.why)
        raise EnvironmentFault(f"the database {name} cannot be created", why=why, remedy=remedy) from None


def apply_properties(session: Session, properties: Sequence[str], name: str) -> None:
    """Give a restored database its owner, settings, grants and comment; raises EnvironmentFault.

    Afterwards and not before the data, because a setting such as default_transaction_read_only would stop those.
    """
    for statement in properties:
        try:
            session.execute(rename_in(statement, name))
        except EnvironmentFault as error:
            why = of_session(error.why)
            raise type(error)(
                f"the restored database {name} cannot be given its owner, settings and grants",
                why=why,
                remedy=CREATE_THE_ROLE if lacks_role(why) else "see the server's log",
            ) from None


@dataclass(frozen=True)
class Selection:
    """What of an archive is restored: everything, or all definitions with the rows of some tables or schemas only."""

    tables: frozenset[tuple[str, str]] = frozenset()
    schemas: frozenset[str] = frozenset()
    #: Foreign keys cannot hold where the rows that they refer to are left out.
    without_foreign_keys: bool = False

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return not (self.tables or self.schemas or self.without_foreign_keys)

    def includes(self, schema: str, name: str) -> bool:
        """Tell whether the rows of a table are restored."""
        return not (self.tables or self.schemas) or (schema, name) in self.tables or schema in self.schemas


def select_entries(entries: Sequence[str], selection: Selection, owned: Sequence[tuple[str, str]]) -> list[str]:
    """Return the lines of an archive's list to be restored; ``owned`` names every table that has rows in it."""
    # Longest first: a list does not quote names, and a table `a b` is not the table `a` of a role `b`.
    tables = sorted(owned, key=lambda table: len(f"{table[0]} {table[1]}"), reverse=True)
    left_out = [key["rest"] for line in entries if (key := _NOT_ALONE.match(line))]
    chosen = []
    for line in entries:
        data = _TABLE_DATA.match(line)
        if data is not None:
            table = next(((s, n) for s, n in tables if data["rest"].startswith(_listed(s, n))), None)
            # Of no known table are the rows of an extension's own tables: only a selection leaves them out.
            if selection.includes(*table) if table else not (selection.tables or selection.schemas):
                chosen.append(line)
        elif not _NOT_ALONE.match(line) and not _is_comment_on(left_out, line):
            chosen.append(line)
    return chosen


def _listed(*names: str) -> str:
    """Return names as pg_restore lists them: unquoted, every line end a space."""
    return "".join(f"{name} " for name in names).replace("\n", " ").replace("\r", " ")


def _is_comment_on(foreign_keys: Sequence[str], line: str) -> bool:
    comment = _CONSTRAINT_COMMENT.match(line)
    if comment is None:
        return False
    table, name = (
        part[1:-1].replace('""', '"') if part.startswith('"') else part for part in (comment["table"], comment["name"])
    )
    return any(key.startswith(_listed(comment["schema"], table, name)) for key in foreign_keys)


def restoring_clients(server: Server, found: tuple[Clients, ...], server_major: int, archive_major: int) -> Clients:
    """Return the clients of this machine with which an archive gets into a server.

    Into a container only its own pg_restore writes, and those of this machine just read. Raises EnvironmentFault when
    none fit, or when the container's would not understand the archive.
    """
    if server.container is None:
        return choose_clients(found, server_major, at_least=archive_major)
    if archive_major > server_major:
        raise EnvironmentFault(
            f"the programs in {server.place} cannot read the dump",
            why=f"pg_dump {archive_major} made it, PostgreSQL {server_major} runs there",
            remedy="restore into a server of that version or newer (--to-host)",
        )
    return newest_reader(found, archive_major)


def restore_archive(
    server: Server,
    clients: Clients,
    archive: Archive,
    name: str,
    workdir: Path,
    *,
    jobs: int,
    timeout: float,
    selection: Selection | None = None,
    owned: Sequence[tuple[str, str]] = (),
    keep_tablespaces: bool = False,
) -> None:
    """Restore an archive into the empty database ``name``, stopping at the first error.

    ``timeout`` in seconds. Inside a container the archive is streamed to its own pg_restore, with one job. Raises
    CheckFailed with pg_restore's message when the archive does not restore, EnvironmentFault when the server fails or
    its role lacks a right.
    """
    selection = selection or Selection()
    arguments = [
        "--exit-on-error",
        "--dbname",
        database_argument(name),
        *(() if keep_tablespaces else ("--no-tablespaces",)),
    ]
    with open_session(server, name) as session:
        speaking, superuser = speaking_english(server, session), is_superuser(session)
        if not selection.everything:  # the names there are compared with those of the manifest
            listing = _listing(clients, archive, create=False).raw
            readable = text_of(listing, encoding_of(clients, archive.path, workdir), session)
            lines = select_entries(_entries(readable), selection, owned)
            chosen = workdir / "chosen-entries"
            chosen.write_text("\n".join(lines) + "\n", encoding="utf-8")
            arguments.append(f"--use-list={chosen}")
    try:
        if server.container is None:
            argv = speaking.argv(clients, "pg_restore", *arguments, f"--jobs={jobs}", str(archive.path))
            run(argv, timeout=timeout, env=speaking.environment())
            return
        if archive.directory_format or not selection.everything:
            raise EnvironmentFault(
                "only a whole custom-format dump can be restored inside a container",
                remedy="restore to a server that is reached over TCP or a socket (--to-host)",
            )
        argv = speaking.argv(None, "pg_restore", *arguments)
        with (
            container_faults(server.container, "pg_restore"),
            started(argv, timeout=timeout, env=speaking.environment(), stdin=None) as running,
            archive.path.open("rb") as handle,
        ):
            shutil.copyfileobj(handle, running.stdin, CHUNK_BYTES)
    except (ProgramFailed, BrokenPipeError) as failure:
        require_not_killed(failure, f"restored into the database {name}")
        why = of_pg_restore(failure.stderr) if isinstance(failure, ProgramFailed) else str(failure)
        if is_not_the_archive(why):
            raise EnvironmentFault("pg_restore could not do its work", why=why, remedy="see the server's log") from None
        if not superuser and lacks_right(why):
            what = f"the role {server.user} may not do what the dump needs at {server.place}"
            raise EnvironmentFault(what, why=why, remedy=USE_A_SUPERUSER) from None
        if lacks_role(why):
            what = f"the dump needs a role that the server at {server.place} does not have"
            raise CheckFailed(what, why=why, remedy=CREATE_THE_ROLE) from None
        raise CheckFailed("pg_restore rejected the dump", why=why, remedy="use another set") from None


def oid_of(session: Session, name: str) -> str | None:
    """Return what a database keeps when it is renamed; None where there is none of that name."""
    query = f"SELECT max(oid::text) FROM pg_catalog.pg_database WHERE datname = {quote_literal(name)}"
    return one_value(session, query)


def database_exists(session: Session, name: str) -> bool:
    """Tell whether the server has a database of that name."""
    query = f"SELECT count(*) FROM pg_catalog.pg_database WHERE datname = {quote_literal(name)}"
    return one_value(session, query) == "1"


def drop_database(session: Session, name: str) -> None:
    """Remove a database that this program made, ending its connections."""
    session.execute(f"DROP DATABASE IF EXISTS {quote_name(name)} WITH (FORCE)")
