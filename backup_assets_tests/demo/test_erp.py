from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from backup_assets.demo.erp import INTEGRITY_SQL, MARKER, ErpFacts, add_a_day_of_work, ensure_erp
from backup_assets.demo.server import connect, demo_server, embedded_binaries
from backup_assets.errors import Refused
from backup_assets_tests.demo.conftest import LAST_DAY


def session(facts: ErpFacts, role: str | None = None, database: str | None = None) -> psycopg.Connection:
    password = {
        facts.application_role: facts.application_password,
        facts.readonly_role: facts.readonly_password,
        facts.server.user: facts.server.password,
    }[role or facts.server.user]
    assert password is not None
    return psycopg.connect(
        host=facts.server.host,
        port=facts.server.port,
        user=role or facts.server.user,
        password=password.get_secret_value(),
        dbname=database or facts.database,
        autocommit=True,
    )


def one(connection: psycopg.Connection, query: str) -> tuple:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row


def integrity_answers(connection: psycopg.Connection) -> dict[str, list[tuple]]:
    named = re.findall(r"^-- name: (\w+)\n(.*?;)$", INTEGRITY_SQL.read_text(), flags=re.DOTALL | re.MULTILINE)
    return {name: connection.execute(query.encode()).fetchall() for name, query in named}


def papers_of(facts: ErpFacts) -> set[str]:
    return {str(path.relative_to(facts.attachments)) for path in facts.attachments.rglob("*") if path.is_file()}


@pytest.fixture
def superuser(a_small_erp: ErpFacts) -> Iterator[psycopg.Connection]:
    with session(a_small_erp) as connection:
        yield connection


def test_rows_and_papers_agree(a_small_erp: ErpFacts, superuser: psycopg.Connection):
    named = {row[0] for row in superuser.execute("SELECT pdf_path FROM invoices")}

    assert len(named) >= 200
    assert papers_of(a_small_erp) == named


def test_papers_are_private_and_readable_as_pdf(a_small_erp: ErpFacts):
    for paper in a_small_erp.attachments.rglob("*.pdf"):
        assert paper.stat().st_mode & 0o777 == 0o600
        assert paper.read_bytes().startswith(b"%PDF-1.5")


def test_the_books_balance(superuser: psycopg.Connection):
    answers = integrity_answers(superuser)

    assert answers["journal_difference"] == [(Decimal("0.00"),)]
    assert answers["unbalanced_vouchers"] == [(0,)]
    assert answers["invoice_total"][0][1] == answers["invoice_line_total"][0][1]
    assert sum(month[1] for month in answers["invoices_by_month"]) == answers["invoice_total"][0][0]
    assert {name for name, _ in answers["journal_partitions"]} >= {"journal_entries_2025", "journal_entries_2026"}
    assert len(answers) == INTEGRITY_SQL.read_text().count("-- name: ") == 8


def test_everything_belongs_to_the_application(superuser: psycopg.Connection):
    owners = superuser.execute(
        "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace IN"
        " ('public'::regnamespace, 'reporting'::regnamespace)"
        " UNION SELECT lomowner::regrole::text FROM pg_largeobject_metadata"
    ).fetchall()

    assert owners == [("erp4_app",)]
    assert one(superuser, "SELECT rolsuper FROM pg_roles WHERE rolname = 'erp4_app'") == (False,)


def test_there_is_one_of_everything_that_a_dump_may_lose(superuser: psycopg.Connection):
    questions = {
        "large objects": "SELECT count(*) FROM pg_largeobject_metadata",
        "partitions": "SELECT count(*) FROM pg_inherits WHERE inhparent = 'journal_entries'::regclass",
        "extensions": "SELECT count(*) FROM pg_extension WHERE extname IN ('pg_trgm', 'btree_gist')",
        "trigram index": "SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%gin_trgm_ops%'",
        "triggers": "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal",
        "enums": "SELECT count(*) FROM pg_type WHERE typtype = 'e'",
        "domains": "SELECT count(*) FROM pg_type WHERE typtype = 'd' AND typnamespace = 'public'::regnamespace",
        "generated columns": "SELECT count(*) FROM pg_attribute WHERE attgenerated = 's'",
        "identity columns": "SELECT count(*) FROM pg_attribute WHERE attidentity <> ''",
        "exclusions": "SELECT count(*) FROM pg_constraint WHERE contype = 'x'",
        "policies": "SELECT count(*) FROM pg_policy",
        "Japanese comments": "SELECT count(*) FROM pg_description WHERE description = '請求書'",
        "filled materialized views": "SELECT count(*) FROM reporting.monthly_sales",
        "views": "SELECT count(*) FROM reporting.open_invoices",
        "schema versions": "SELECT count(*) FROM schema_migrations",
        "tokens": "SELECT count(*) FROM api_tokens",
        "memos of two lines": "SELECT count(*) FROM customers WHERE memo LIKE E'%\\n%'",
    }

    assert [name for name, query in questions.items() if one(superuser, query)[0] == 0] == []


def test_the_readonly_role_reads_and_does_not_write(a_small_erp: ErpFacts):
    with session(a_small_erp, a_small_erp.readonly_role) as connection:
        assert one(connection, "SELECT count(*) FROM invoices")[0] >= 200
        for forbidden in ("DELETE FROM invoices", "SELECT password_hash FROM users", "SELECT * FROM api_tokens"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(forbidden)


def test_not_even_the_application_sees_the_tokens_of_all(a_small_erp: ErpFacts):
    with session(a_small_erp, a_small_erp.application_role) as connection:
        assert one(connection, "SELECT count(*) FROM api_tokens") == (0,)
        connection.execute("SET erp.user_id = '1'")
        assert one(connection, "SELECT count(*) FROM api_tokens") == (1,)


def test_making_it_again_touches_nothing(a_small_erp: ErpFacts, a_lasting_home: Path, superuser: psycopg.Connection):
    before = integrity_answers(superuser), papers_of(a_small_erp)

    assert ensure_erp(a_lasting_home) == a_small_erp
    assert (integrity_answers(superuser), papers_of(a_small_erp)) == before


def test_another_size_in_the_same_place_is_refused(a_small_erp: ErpFacts, a_lasting_home: Path):
    with pytest.raises(Refused, match="is of size small, not medium"):
        ensure_erp(a_lasting_home, "medium")
    with pytest.raises(Refused, match="no size of the demo"):
        ensure_erp(a_lasting_home, "huge")


def test_a_day_of_work_adds_rows_and_papers_that_agree(a_small_erp: ErpFacts, a_lasting_home: Path):
    with session(a_small_erp, a_small_erp.application_role) as connection:
        before = integrity_answers(connection)
        first = add_a_day_of_work(connection, a_lasting_home)
        second = add_a_day_of_work(connection, a_lasting_home)
        after = integrity_answers(connection)
        named = {row[0] for row in connection.execute("SELECT pdf_path FROM invoices")}
        sold = one(connection, "SELECT sum(net) FROM invoices WHERE status <> '取消'")
        assert one(connection, "SELECT sum(net) FROM reporting.monthly_sales") == sold

    assert (first.day, second.day) == (LAST_DAY + timedelta(days=3), LAST_DAY + timedelta(days=4))  # after a weekend
    assert after["invoice_total"][0][0] == before["invoice_total"][0][0] + 10
    assert after["newest_invoice"][0][0] == second.invoices[-1]
    assert after["journal_difference"] == [(Decimal("0.00"),)]
    assert all(path.is_file() for path in (*first.pdfs, *second.pdfs))
    assert papers_of(a_small_erp) == named


def test_a_dump_of_it_restores_without_an_error(a_small_erp: ErpFacts, superuser: psycopg.Connection, tmp_path: Path):
    binaries = embedded_binaries()
    assert a_small_erp.server.password is not None
    environment = {
        "PGHOST": a_small_erp.server.host,
        "PGPORT": str(a_small_erp.server.port),
        "PGUSER": a_small_erp.server.user,
        "PGPASSWORD": a_small_erp.server.password.get_secret_value(),
    }
    dump = str(tmp_path / "erp4.dump")
    superuser.execute("CREATE DATABASE erp4_again")
    try:
        for argv in (
            [binaries.program("pg_dump"), "-Fc", "-f", dump, "erp4"],
            [binaries.program("pg_restore"), "--exit-on-error", "-d", "erp4_again", dump],
        ):
            subprocess.run(argv, env=environment, check=True, timeout=400)
        with session(a_small_erp, database="erp4_again") as restored:
            assert integrity_answers(restored) == integrity_answers(superuser)
            assert one(restored, "SELECT count(*) FROM pg_constraint WHERE NOT convalidated") == (0,)
    finally:
        superuser.execute("DROP DATABASE erp4_again")


def test_a_half_made_erp_is_made_again(a_home: Path):
    with connect(demo_server(a_home), "postgres") as connection:
        connection.execute("CREATE DATABASE erp4")
    stray = a_home / "attachments" / "invoices" / "stray.pdf"
    stray.parent.mkdir(parents=True)
    stray.touch()

    facts = ensure_erp(a_home, last_day=LAST_DAY)

    with session(facts) as connection:
        assert one(connection, "SELECT count(*) FROM invoices") == (200,)
    assert not stray.exists()


def test_a_complete_erp_whose_database_was_dropped_is_left_for_a_restore(a_home: Path):
    ensure_erp(a_home, last_day=LAST_DAY)
    with connect(demo_server(a_home), "postgres") as connection:
        connection.execute("DROP DATABASE erp4")

        facts = ensure_erp(a_home)

        assert connection.execute("SELECT FROM pg_database WHERE datname = 'erp4'").fetchone() is None
    assert len(papers_of(facts)) == 200


def test_what_was_noted_about_another_server_does_not_count(a_home: Path):
    demo_server(a_home)
    facts = {"size": "small", "invoices": 200, "application_password": "a", "readonly_password": "b"}
    (a_home / MARKER).write_text(json.dumps(facts | {"system_identifier": "another"}))

    made = ensure_erp(a_home, last_day=LAST_DAY)

    with session(made, made.application_role) as connection:
        assert one(connection, "SELECT count(*) FROM invoices") == (200,)
    assert (a_home / MARKER).stat().st_mode & 0o777 == 0o600
