from __future__ import annotations

import pytest

from backup_assets.restore.server_words import is_not_the_archive, lacks_role, of_pg_restore, of_session

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


def test_the_statement_of_a_session_is_not_told():
    assert of_session("role \"api\" does not exist in: ALTER ROLE api SET app.key TO 'secret'") == (
        'role "api" does not exist'
    )


@pytest.mark.parametrize("name", ["api", "the api", 'the ""api""'])
def test_a_missing_role_is_known_by_the_servers_words(name: str):
    assert lacks_role(f'ERROR:  role "{name}" does not exist')
    assert not lacks_role(f'ERROR:  relation "{name}" does not exist')


def test_a_job_that_ended_by_an_error_of_the_archive_is_not_taken_for_one_that_was_killed():
    ended = "pg_restore: error: a worker process died unexpectedly"
    rejected = 'pg_restore: error: COPY failed for table "invoices": ERROR:  invalid input syntax for type integer: "x"'

    assert is_not_the_archive(ended)
    assert not is_not_the_archive(f"{rejected}\n{ended}")
    assert is_not_the_archive("pg_restore: error: COPY failed: server closed the connection unexpectedly")
    assert not is_not_the_archive("its message is too long to be told: see the server's log")
