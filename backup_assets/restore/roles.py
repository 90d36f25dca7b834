"""How the roles of a globals script come back without changing the roles that are already there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backup_assets.capture.dump import read_globals, require_complete_globals
from backup_assets.errors import EnvironmentFault
from backup_assets.postgres.names import quote_literal, quote_name, statements
from backup_assets.postgres.server import Server
from backup_assets.postgres.session import Session, one_value, open_session

_NAME = r'("(?:[^"]|"")+"|[^\s";]+)'
_ROLE = re.compile(rf"(?:CREATE|ALTER|COMMENT ON|SECURITY LABEL (?:FOR \S+ )?ON) ROLE {_NAME}")
_MEMBERSHIP = re.compile(rf"GRANT {_NAME} TO {_NAME}")
_PARAMETER = re.compile(rf"(?:GRANT|REVOKE) .+? ON PARAMETER \S+ (?:TO|FROM) {_NAME}")
_TABLESPACE = re.compile(r"(?:CREATE|ALTER|COMMENT ON) TABLESPACE |(?:GRANT|REVOKE) .* ON TABLESPACE ")


@dataclass(frozen=True)
class RestoredRoles:
    """What was done: roles made, roles left as they were, and statements left out on purpose.

    Left out are tablespaces, memberships of existing roles in roles that were made now, and rights of existing roles,
    or of everybody, to set parameters of the server: the operator may want to give them back by hand.
    """

    created: tuple[str, ...]
    kept: tuple[str, ...]
    left_out: tuple[str, ...]


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def select_statements(script: str, existing: Iterable[str]) -> tuple[list[str], RestoredRoles]:
    """Return the statements to run and what they amount to.

    A role that exists keeps its password, attributes, memberships and rights: a restore must not change how people who
    work now log in, nor what they may do. Tablespaces are left out: their directories belong to the old machine.
    """
    there = set(existing)
    wanted: list[str] = []
    created: list[str] = []
    kept: list[str] = []
    left_out: list[str] = []
    for statement in statements(script):
        role = _ROLE.match(statement)
        membership = _MEMBERSHIP.match(statement)
        parameter = _PARAMETER.match(statement)
        name = _unquoted(role[1]) if role else _unquoted(membership[2]) if membership else None
        if statement.startswith("SET client_encoding"):
            continue  # of the file, which has been read
        if _TABLESPACE.match(statement) or (parameter and _unquoted(parameter[1]) in {*there, "PUBLIC"}):
            left_out.append(statement)
        elif name is not None and name in there:
            if statement.startswith("CREATE ROLE"):
                kept.append(name)
            elif membership is not None and _unquoted(membership[1]) not in there:
                left_out.append(statement)
        else:
            if statement.startswith("CREATE ROLE") and name is not None:
                created.append(name)
            wanted.append(statement)
    return wanted, RestoredRoles(tuple(created), tuple(kept), tuple(left_out))


def names_fit(session: Session, encoding: str) -> bool:
    """Tell whether what has a name for the whole server reads alike in the session's database and in ``encoding``."""
    there = one_value(session, "SELECT current_setting('server_encoding')")
    # Nothing is converted for SQL_ASCII: its bytes are those of the session, which is in UTF-8.
    return encoding in ("", there) or (encoding == "SQL_ASCII" and there == "UTF8")


@contextmanager
def session_for_roles(server: Server, session: Session, encoding: str, unused: str) -> Iterator[Session]:
    """Yield a session of ``server`` in a database of ``encoding``: ``session`` itself where that is in one.

    The name of a role is kept as the bytes that it has in the database where it is made, and a database of another
    encoding does not find it. Where there is no fitting one, an empty one by the name ``unused`` is made for the block.
    """
    if names_fit(session, encoding):
        yield session
        return
    session.execute(
        f"CREATE DATABASE {quote_name(unused)} TEMPLATE template0 ENCODING {quote_literal(encoding)} "
        "LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    try:
        with open_session(server, unused) as fitting:
            yield fitting
    finally:
        session.execute(f"DROP DATABASE IF EXISTS {quote_name(unused)} WITH (FORCE)")


def restore_roles(session: Session, path: Path) -> RestoredRoles:
    """Create the missing roles of a globals file with their settings and grants, in one transaction.

    Raises CheckFailed when the file is cut off, EnvironmentFault (nothing changed) when a statement is rejected.
    """
    require_complete_globals(path)
    existing = [str(name) for (name,) in session.rows("SELECT rolname FROM pg_catalog.pg_roles")]
    wanted, outcome = select_statements(read_globals(path), existing)
    session.execute("BEGIN")
    try:
        for statement in wanted:
            session.execute(statement)
    except EnvironmentFault as error:
        # The statement itself may hold a password hash: only the server's own words are shown.
        why = error.why.partition(" in: ")[0]
        raise EnvironmentFault(
            f"the roles of {path.name} cannot be restored",
            why=why,
            remedy="connect as a superuser, or create the roles by hand and restore again with --without-roles",
        ) from None
    session.execute("COMMIT")
    return outcome
