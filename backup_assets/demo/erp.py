"""How is the sample ERP made once, and how does a further day of work get into it?"""

from __future__ import annotations

import json
import secrets
import shutil
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import LiteralString, cast

import psycopg
from psycopg import sql
from pydantic import SecretStr

from backup_assets import files
from backup_assets.demo import words
from backup_assets.demo.loading import (
    TIME_ZONE,
    copy_invoices,
    copy_rows,
    load,
    load_tokens,
    make_partitions,
    reset_identity,
    write_pdf,
)
from backup_assets.demo.rows import (
    JOURNAL_COLUMNS,
    SEED,
    SIZES,
    Customer,
    History,
    Project,
    invoice_entries,
    issue_invoice,
    make_history,
)
from backup_assets.demo.server import connect, demo_server, exclusive
from backup_assets.errors import EnvironmentFault, Refused
from backup_assets.postgres.cluster import Cluster
from backup_assets.settings_server import ServerSettings

DATABASE = "erp4"
APPLICATION_ROLE = "erp4_app"
READONLY_ROLE = "erp4_readonly"
#: Named queries whose answers must be the same after a restore.
INTEGRITY_SQL = Path(__file__).with_name("integrity.sql")
SCHEMA_SQL = Path(__file__).with_name("schema.sql")
EXTENSIONS: tuple[LiteralString, ...] = ("pg_trgm", "btree_gist")
MARKER = "erp4.json"
INVOICES_A_DAY = 5


@dataclass(frozen=True)
class ErpFacts:
    """Where the sample ERP is; ``server`` connects as the superuser, ``invoices`` counts those made at first."""

    server: ServerSettings
    database: str
    attachments: Path
    size: str
    invoices: int
    application_role: str
    application_password: SecretStr
    readonly_role: str
    readonly_password: SecretStr


@dataclass(frozen=True)
class DayOfWork:
    """What a day has added; ``pdfs`` are absolute paths."""

    day: date
    invoices: tuple[str, ...]
    pdfs: tuple[Path, ...]


def ensure_erp(home: Path, size: str | None = None, *, last_day: date | None = None) -> ErpFacts:
    """Return the sample ERP in ``home``, with its server running; made first when there is none.

    ``size`` is small (about 200 invoices), medium or large (20,000 files, a database of about 2 GB); None takes
    what is there, else small. ``last_day`` is that of the history, today in Tokyo when left out. A half-made ERP is
    made again; a complete one is never touched, not even when its database was dropped since: that is restored from
    a backup. Raises Refused when there is one of another size.
    """
    if size is not None and size not in SIZES:
        raise Refused(f"{size!r} is no size of the demo", remedy=f"choose one of {', '.join(SIZES)}")
    cluster = demo_server(home)
    with exclusive(home, "erp.lock"), connect(cluster, "postgres") as connection:
        row = connection.execute("SELECT system_identifier::text FROM pg_control_system()").fetchone()
        identifier = row[0] if row else ""
        facts = _read_marker(home, identifier)
        if facts is None:
            made = size or "small"
            history = make_history(SIZES[made], SEED, last_day or datetime.now(TIME_ZONE).date())
            try:
                facts = _make(home, cluster, connection, history)
            except (psycopg.Error, OSError) as error:
                raise EnvironmentFault(
                    f"the sample ERP could not be made in {home}",
                    why=str(error).strip(),
                    remedy="free disk space is the usual cause; what is half-made is made again the next time",
                ) from error
            facts |= {"size": made, "system_identifier": identifier}
            (home / MARKER).unlink(missing_ok=True)
            files.write_durably(home / MARKER, (json.dumps(facts, indent=1) + "\n").encode())
    if size not in (None, facts["size"]):
        raise Refused(
            f"the demo in {home} is of size {facts['size']}, not {size}",
            remedy="use another directory for another size",
        )
    return ErpFacts(
        server=cluster.server_settings(),
        database=DATABASE,
        attachments=attachments_directory(home),
        size=str(facts["size"]),
        invoices=int(facts["invoices"]),
        application_role=APPLICATION_ROLE,
        application_password=SecretStr(str(facts["application_password"])),
        readonly_role=READONLY_ROLE,
        readonly_password=SecretStr(str(facts["readonly_password"])),
    )


def attachments_directory(home: Path) -> Path:
    """Return the directory to which `invoices.pdf_path` is relative."""
    return home.absolute() / "attachments"


def add_a_day_of_work(connection: psycopg.Connection, home: Path) -> DayOfWork:
    """Add the next working day: invoices with PDFs, journal entries, timesheets; return what was added.

    ``connection`` is to the ERP's database, as its application role or the superuser. Everything is committed
    together; the PDFs are there before the rows that name them.
    """
    with connection.transaction():
        connection.execute("LOCK TABLE invoices IN SHARE ROW EXCLUSIVE MODE")
        row = connection.execute("SELECT max(issued_on), max(id) FROM invoices").fetchone()
        if row is None or row[0] is None:
            raise EnvironmentFault("the ERP holds no invoices to go on from", remedy="restore it, or make a new demo")
        day, last_id = _next_working_day(row[0]), int(row[1])
        random = Random(f"{SEED} {day}")  # noqa: S311 - repeatable on purpose
        issued = tuple(
            issue_invoice(random, last_id + 1 + index, day, day, *_any_project(connection, random))
            for index in range(INVOICES_A_DAY)
        )
        pdfs = tuple(write_pdf(attachments_directory(home), invoice) for invoice in issued)
        copy_invoices(connection, issued)
        reset_identity(connection, "invoices")
        row = connection.execute("SELECT coalesce(max(voucher), 0) FROM journal_entries").fetchone()
        voucher = row[0] if row else 0
        entries = [
            entry
            for index, invoice in enumerate(issued, start=1)
            for entry in invoice_entries(voucher + index, invoice.printed)
        ]
        copy_rows(connection, "journal_entries", JOURNAL_COLUMNS, entries)
        connection.execute(
            "INSERT INTO timesheets (employee_id, project_id, worked_on, hours, task)"
            " SELECT e.id, (SELECT max(id) FROM projects), %s, 7.5, %s FROM employees e",
            (day, random.choice(words.TASKS)),
        )
        connection.execute("REFRESH MATERIALIZED VIEW reporting.monthly_sales")
    return DayOfWork(day, tuple(invoice.printed.number for invoice in issued), pdfs)


def _next_working_day(day: date) -> date:
    following = day + timedelta(days=1)
    while following.weekday() >= 5:
        following += timedelta(days=1)
    return following


def _any_project(connection: psycopg.Connection, random: Random) -> tuple[Customer, Project]:
    row = connection.execute(
        "SELECT p.id, p.name, lower(p.period), upper(p.period), p.budget, c.id, c.name, c.kana, c.romaji,"
        " c.postal_code, c.prefecture, c.street, c.phone, coalesce(c.memo, '')"
        " FROM projects p JOIN customers c ON c.id = p.customer_id"
        " WHERE p.id >= %s ORDER BY p.id LIMIT 1",
        (random.randint(1, 60),),
    ).fetchone()
    if row is None:
        raise EnvironmentFault("the ERP holds no projects to invoice", remedy="restore it, or make a new demo")
    written, address = words.Written(*row[6:9]), words.Address(*row[9:12])
    customer = Customer(row[5], written, address, row[12], row[13])
    return customer, Project(row[0], row[5], row[1], (row[2], row[3]), int(row[4]))


def _read_marker(home: Path, system_identifier: str) -> dict[str, str | int] | None:
    """Return what was noted when the ERP was complete, unless that was on another server than this one."""
    try:
        facts = json.loads((home / MARKER).read_text())
    except FileNotFoundError:
        return None
    except (ValueError, PermissionError) as error:
        raise EnvironmentFault(
            f"{home / MARKER} cannot be read",
            why=str(error),
            remedy="run as the user who made the demo, or use another directory",
        ) from error
    return facts if facts["system_identifier"] == system_identifier else None


def _make(home: Path, cluster: Cluster, connection: psycopg.Connection, history: History) -> dict[str, str | int]:
    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(DATABASE)))
    attachments = attachments_directory(home)
    if (attachments / "invoices").exists():
        shutil.rmtree(attachments / "invoices")
    passwords = {role: secrets.token_urlsafe(18) for role in (APPLICATION_ROLE, READONLY_ROLE)}
    for role, password in passwords.items():
        name = sql.Identifier(role)
        # Not dropped first: the role may own what was restored under another name.
        if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is None:
            connection.execute(sql.SQL("CREATE ROLE {}").format(name))
        connection.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(password)))
    connection.execute(
        sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(DATABASE), sql.Identifier(APPLICATION_ROLE))
    )
    with connect(cluster, DATABASE) as erp:
        erp.execute("COMMENT ON DATABASE erp4 IS '販売・工数・会計(デモ)'")
        for extension in EXTENSIONS:
            erp.execute(sql.SQL("CREATE EXTENSION {}").format(sql.Identifier(extension)))
        with erp.transaction():
            # The rows refer to each other rightly by construction, and a restore checks them all again.
            erp.execute("SET LOCAL session_replication_role = replica")
            erp.execute("SET LOCAL synchronous_commit = off")
            erp.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(APPLICATION_ROLE)))
            erp.execute(cast("LiteralString", SCHEMA_SQL.read_text(encoding="utf-8")))
            make_partitions(erp, history)
            load(erp, history, attachments)
            erp.execute("RESET ROLE")  # row-level security lets not even the owner COPY into this one
            load_tokens(erp, history)
        erp.execute("ANALYZE")
    return {
        "invoices": history.size.invoices,
        "application_password": passwords[APPLICATION_ROLE],
        "readonly_password": passwords[READONLY_ROLE],
    }
