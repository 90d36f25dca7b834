from __future__ import annotations

import pytest

from backup_assets.process import LEFT_OUT
from backup_assets.restore.server_words import is_not_the_archive, lacks_right, lacks_role, of_pg_restore, of_session

REJECTED = """\
pg_restore: while PROCESSING TOC:
pg_restore: from TOC entry 3345; 1259 16385 USER MAPPING rep postgres
pg_restore: error: could not execute query: ERROR:  role "rep" does not exist
"""


@pytest.mark.parametrize(
    "rest",
    [
        "Command was: CREATE USER MAPPING FOR rep OPTIONS (\n    password 'secret'\n);\n\nDROP TABLE secret;\n",
        "pg_restore: detail: Query was: SELECT 'secret'\n",
        "LINE 1: CREATE TABLE secret ();\n                     ^\n",
        "DETAIL:  Key (token)=(secret) already exists.\n",
        'CONTEXT:  COPY keys, line 3, column token: "secret"\n',
    ],
    ids=["statement", "query", "excerpt", "values of a key", "values of a row"],
)
def test_of_a_rejected_statement_the_servers_own_words_alone_are_told(rest: str):
    assert of_pg_restore(REJECTED + rest) == REJECTED.strip()


def test_a_hint_and_what_else_the_program_says_are_told():
    more = "HINT:  Create it first.\npg_restore: warning: errors ignored on restore: 1\n"

    assert of_pg_restore(REJECTED + "DETAIL:  values\n" + more) == REJECTED + "pg_restore: warning: " + (
        "errors ignored on restore: 1"
    )
    assert of_pg_restore(REJECTED + more) == REJECTED + more.strip()


def test_the_end_of_a_long_statement_is_not_told_without_its_beginning():
    told = of_pg_restore("    password 'secret'\n);\n")

    assert "secret" not in told
    assert "the server's log" in told


def test_what_follows_the_first_errors_of_a_long_statement_is_not_told():
    error = REJECTED.splitlines()[-1]

    assert of_pg_restore(f"{error}\n{LEFT_OUT}\n    password 'secret'\n);\n") == error


def test_the_statement_of_a_session_is_not_told():
    assert of_session("role \"api\" does not exist in: ALTER ROLE api SET app.key TO 'secret'") == (
        'role "api" does not exist'
    )


@pytest.mark.parametrize("name", ["api", "the api", 'the ""api""'])
def test_a_missing_role_is_known_by_the_servers_words(name: str):
    assert lacks_role(f'ERROR:  role "{name}" does not exist')
    assert not lacks_role(f'ERROR:  relation "{name}" does not exist')


@pytest.mark.parametrize(
    "words",
    [
        "permission denied for schema hidden",
        'permission denied to create extension "dblink"',
        'must be member of role "api"',
        'must be able to SET ROLE "api"',
        "must be owner of function f",
        "must be superuser to create a base type",
        "only superuser can define a leakproof function",
        'query would be affected by row-level security policy for table "t"',
        "スキーマ hidden へのアクセスが拒否されました",
        '機能拡張"dblink"を作成する権限がありません',
        'ロール"api"のメンバでなければなりません',
        "関数 f の所有者である必要があります",
        "基本型を作成するにはスーパーユーザーである必要があります",
        "スーパーユーザーのみがリークプルーフ関数を定義することができます",
        '問い合わせはテーブル"t"に対する行レベルセキュリティポリシの影響を受けます',
    ],
)
def test_a_right_that_is_missing_is_known_by_the_servers_words(words: str):
    assert lacks_right(f"pg_restore: error: could not execute query: ERROR:  {words}")
    assert not is_not_the_archive(f"pg_restore: error: could not execute query: ERROR:  {words}")


@pytest.mark.parametrize("words", ['role "api" does not exist', 'relation "t" must be a table', "syntax error"])
def test_another_error_is_not_taken_for_a_right_that_is_missing(words: str):
    assert not lacks_right(f"pg_restore: error: could not execute query: ERROR:  {words}")


@pytest.mark.parametrize("reason", ["Permission denied", "許可がありません"])
def test_a_file_that_is_closed_to_the_server_is_not_taken_for_an_archive_that_is_rejected(reason: str):
    said = f'pg_restore: error: could not execute query: ERROR:  could not open file "base/1": {reason}'

    assert is_not_the_archive(f"{said}\nHINT:  Look at it.")


def test_a_job_that_ended_by_an_error_of_the_archive_is_not_taken_for_one_that_was_killed():
    ended = "pg_restore: error: a worker process died unexpectedly"
    rejected = 'pg_restore: error: COPY failed for table "invoices": ERROR:  invalid input syntax for type integer: "x"'

    assert is_not_the_archive(ended)
    assert not is_not_the_archive(f"{rejected}\n{ended}")
    assert is_not_the_archive("pg_restore: error: COPY failed: server closed the connection unexpectedly")
    assert not is_not_the_archive("its message is too long to be told: see the server's log")
