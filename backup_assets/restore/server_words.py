"""What of a server's answer may be told, where the statement that it rejects came out of a backup?

Such a statement may hold a secret: a role's setting in a database, the password of a user mapping. What is told is
also recorded beside the set, and copied from there.
"""

from __future__ import annotations

import re
from dataclasses import replace

from backup_assets.postgres.server import Server
from backup_assets.postgres.session import Session, text_value
from backup_assets.process import LEFT_OUT

_OWN = "pg_restore: "
_STATEMENT = re.compile(r"(?:pg_restore: detail: )?(?:Command|Query) was:")
#: Lines of the server with an excerpt of the statement, or with values of rows.
_EXCERPT = re.compile(r"(?:LINE \d+|DETAIL|CONTEXT|QUERY|STATEMENT):")
#: In English, and in Japanese as PostgreSQL's catalog ja.po has it.
_NO_ROLE = re.compile(r'role "(?:[^"]|"")+" does not exist|ロール"(?:[^"]|"")+"は存在しません')
#: What pg_restore says when not the archive is at fault: refused or lost connections, a server that stops, its disk,
#: memory that is short. The server's own words are in its language, the system's about the disk in those of glibc.
_SERVER_FAILED = (
    "connection to server",
    "server closed the connection",
    "terminating connection",
    "接続を終了し",
    "コネクションを終了し",
    "shutting down",
    "シャットダウンしています",
    "No space left",
    "デバイスに空き領域がありません",
    "could not extend file",  # as it says when only a part of a block had room
    "を拡張できませんでした",
    "out of memory",
    "out of shared memory",  # more locks than it is set up for
    "メモリ不足です",
    "メモリが足りません",
)
#: So the system says that the server's own user may not open a file of the server's machine.
_CLOSED_FILE = re.compile(r": (?:Permission denied|許可がありません)$", re.MULTILINE)
#: SQLSTATE 42501, of which pg_restore tells the words alone: all that PostgreSQL has of them.
_NO_RIGHT = re.compile(
    "permission denied|must be (?:owner of|(?:a )?member of|(?:a )?superuser|able to SET ROLE)|"
    "must have (?:CREATEROLE|admin option|privileges)|only superuser|only roles with|row-level security policy|"
    "アクセスが拒否されました|権限がありません|設定することは許可されていません|所有者である必要があります|メンバでなければなりません|"
    "スーパーユーザーで(?:ある必要があります|なければなりません)|スーパーユーザーのみが|権限が必要です|オプションが必要です|"
    "行レベルセキュリティポリシ"
)
#: A message that nobody can read: in a database of SQL_ASCII and the locale C, letters of other languages are question
#: marks, and where the archive is not in UTF-8, neither are the server's words. (Of English ones, the first are ASCII.)
_UNREADABLE = re.compile("(?:ERROR|FATAL):  (?:\\?{3}|.{0,2}\ufffd)")
#: Of a job of its own that ended, killed or because of an error: then that error stands before it.
_JOB_ENDED = "a worker process died unexpectedly"
_ERROR = "pg_restore: error: "
#: What of the locale of a new database a server cannot do.
_LOCALE = ("locale", "collation", "ICU", "ロケール", "照合順序")
#: What to do about a role that the server does not have.
CREATE_THE_ROLE = (
    "create it there (CREATE ROLE), or let the restore make the roles of the set: leave out --without-roles"
)
#: What to do about a role that may not restore.
USE_A_SUPERUSER = (
    "connect as a superuser: user in verification.scratch or drill.server (backup.yaml, SCRATCH_USER), DB_USER or "
    "--to-user for a restore"
)

#: Only a superuser may choose it. A server that speaks English already is left alone: what stands between it and us (a
#: pooler of connections) need not take options.
_MAY_SPEAK_ENGLISH = """
SELECT count(*) FROM pg_catalog.pg_roles WHERE rolname = current_user AND rolsuper
  AND current_setting('lc_messages') !~* '^(C|POSIX|en)([_.@]|$)'
"""


def is_superuser(session: Session) -> bool:
    """Tell whether the role of ``session`` may do anything."""
    return text_value(session, "SELECT rolsuper::text FROM pg_catalog.pg_roles WHERE rolname = current_user") == "true"


def speaking_english(server: Server, session: Session) -> Server:
    """Return ``server`` so that it speaks English with client programs, where the role of ``session`` may ask for that.

    They do not tell the codes of errors, so that what the server says must be understood.
    """
    if text_value(session, _MAY_SPEAK_ENGLISH) == "0":
        return server
    return replace(server, options="-c lc_messages=C")


def of_session(why: str) -> str:
    """Return the server's own words of a fault of a session, without the statement."""
    return why.partition(" in: ")[0]


def of_pg_restore(stderr: str) -> str:
    """Return what pg_restore and the server said, without the statement and without values of rows.

    Of a long statement only the end may be in ``stderr``: what stands before pg_restore's own words is none of them.
    """
    told: list[str] = []
    telling = False
    for line in stderr.splitlines():
        if _STATEMENT.match(line):
            break
        telling = line.startswith(_OWN) or (telling and not _EXCERPT.match(line) and line != LEFT_OUT)
        if telling:
            told.append(line)
    return "\n".join(told) or "its message is too long to be told: see the server's log"


def lacks_locale(words: str) -> bool:
    """Tell whether the server says that it cannot make a database of that locale."""
    return any(sign in words for sign in _LOCALE)


def is_not_the_archive(why: str) -> bool:
    """Tell whether, by what pg_restore said, something else was at fault than the archive, or may have been."""
    errors = [line for line in why.splitlines() if line.startswith(_ERROR)]
    job_was_killed = bool(errors) and all(_JOB_ENDED in line for line in errors)
    unreadable = _CLOSED_FILE.search(why) or _UNREADABLE.search(why)
    return job_was_killed or any(sign in why for sign in _SERVER_FAILED) or unreadable is not None


def lacks_right(words: str) -> bool:
    """Tell whether the server says that a role may not do something.

    Of a superuser this is true of what runs as somebody else only, as the functions in an index do: it may do all that
    a dump needs, and so the dump is at fault.
    """
    return _NO_RIGHT.search(words) is not None


def lacks_role(words: str) -> bool:
    """Tell whether the server says that it does not know a role."""
    return _NO_ROLE.search(words) is not None
