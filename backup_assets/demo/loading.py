"""How do the rows and papers of the sample ERP get into its database and its folder?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb
from psycopg.types.range import DateRange

from backup_assets import files
from backup_assets.demo import words
from backup_assets.demo.pdf import invoice_pdf
from backup_assets.demo.rows import JOURNAL_COLUMNS, History, IssuedInvoice, department, digest, journal_chunks

TIME_ZONE = ZoneInfo("Asia/Tokyo")
MIGRATIONS = ("20240401000000", "20250115093000", "20260930120000")


def make_partitions(erp: psycopg.Connection, history: History) -> None:
    """Make the journal's partitions, a calendar year each, from the first day to the year after the last."""
    for year in range(history.first_day.year, history.last_day.year + 2):
        erp.execute(
            sql.SQL("CREATE TABLE {} PARTITION OF journal_entries FOR VALUES FROM ({}) TO ({})").format(
                sql.Identifier(f"journal_entries_{year}"),
                sql.Literal(date(year, 1, 1)),
                sql.Literal(date(year + 1, 1, 1)),
            )
        )


def load(erp: psycopg.Connection, history: History, attachments: Path) -> None:
    """Fill every table but the tokens, and write the PDFs below ``attachments``."""
    _load_people(erp, history)
    _load_customers(erp, history)
    invoices: list[IssuedInvoice] = []
    for invoice in history.invoices():
        write_pdf(attachments, invoice)
        invoices.append(invoice)
    copy_invoices(erp, invoices)
    copy_rows(erp, "timesheets", ("employee_id", "project_id", "worked_on", "hours", "task"), history.timesheets())
    copy_rows(erp, "accounts", ("code", "name", "kind"), words.ACCOUNTS)
    columns = sql.SQL(", ").join(map(sql.Identifier, JOURNAL_COLUMNS))
    with erp.cursor().copy(sql.SQL("COPY journal_entries ({}) FROM STDIN").format(columns)) as copy:
        for chunk in journal_chunks(history):
            copy.write(chunk)
    applied = (
        (version, datetime.strptime(version, "%Y%m%d%H%M%S").replace(tzinfo=TIME_ZONE)) for version in MIGRATIONS
    )
    copy_rows(erp, "schema_migrations", ("version", "applied_at"), applied)
    for table in ("employees", "users", "customers", "projects", "invoices"):
        reset_identity(erp, table)
    erp.execute("REFRESH MATERIALIZED VIEW reporting.monthly_sales")


def _load_people(erp: psycopg.Connection, history: History) -> None:
    numbered = tuple(enumerate(history.employees, start=1))
    copy_rows(
        erp,
        "employees",
        ("id", "code", "name", "kana", "department", "hired_on"),
        (
            (n, f"E{n:04d}", person.name, person.kana, department(n), history.first_day - timedelta(days=97 * (n % 40)))
            for n, person in numbered
        ),
    )
    copy_rows(
        erp,
        "users",
        ("id", "employee_id", "login", "password_hash", "is_admin", "preferences"),
        (
            (n, n, f"{person.romaji.split()[0]}{n}", digest(f"password {n}").hex(), n == 1, Jsonb({"テーマ": "暗い"}))
            for n, person in numbered
        ),
    )


def load_tokens(erp: psycopg.Connection, history: History) -> None:
    """Fill the table of tokens; needs a superuser, since row-level security lets not even the owner COPY into it."""
    rows = ((n, digest(f"token {n}"), "会計ソフト連携") for n in range(1, len(history.employees) + 1, 3))
    copy_rows(erp, "api_tokens", ("user_id", "token_hash", "label"), rows)


def _load_customers(erp: psycopg.Connection, history: History) -> None:
    copy_rows(
        erp,
        "customers",
        ("id", "code", "name", "kana", "romaji", "postal_code", "prefecture", "street", "phone", "memo"),
        (
            (
                *(customer.id, f"C{customer.id:05d}"),
                *(customer.written.name, customer.written.kana, customer.written.romaji),
                *(customer.address.postal_code, customer.address.prefecture, customer.address.street),
                *(customer.phone, customer.memo or None),
            )
            for customer in history.customers
        ),
    )
    for customer in history.customers[:3]:
        erp.execute(
            "INSERT INTO contracts (customer_id, signed_on, scan) VALUES (%s, %s, lo_from_bytea(0, %s))",
            (customer.id, history.first_day, Random(customer.id).randbytes(50_000)),  # noqa: S311
        )
    copy_rows(
        erp,
        "projects",
        ("id", "customer_id", "code", "name", "status", "period", "budget", "tags"),
        (
            (
                *(project.id, project.customer_id, f"P{project.id:05d}", project.name),
                "完了" if project.period[1] < history.last_day else "進行中",
                DateRange(*project.period),
                project.budget,
                ["請負", "重要"] if project.id % 5 == 0 else [],
            )
            for project in history.projects
        ),
    )
    copy_rows(
        erp,
        "project_managers",
        ("project_id", "employee_id", "period"),
        (
            (project.id, project.id % history.size.employees + 1, DateRange(*project.period))
            for project in history.projects
        ),
    )


def copy_invoices(connection: psycopg.Connection, invoices: Sequence[IssuedInvoice]) -> None:
    """Add invoices and their lines."""
    copy_rows(
        connection,
        "invoices",
        (
            *("id", "number", "customer_id", "project_id", "issued_on", "due_on"),
            *("status", "net", "tax", "pdf_path", "updated_at"),
        ),
        (
            (
                *(invoice.id, invoice.printed.number, invoice.customer_id, invoice.project_id),
                *(invoice.printed.issued_on, invoice.printed.due_on, invoice.status),
                *(invoice.printed.net, invoice.printed.tax, invoice.pdf_path),
                datetime.combine(invoice.printed.issued_on, datetime.min.time(), TIME_ZONE),
            )
            for invoice in invoices
        ),
    )
    copy_rows(
        connection,
        "invoice_lines",
        ("invoice_id", "line_no", "description", "quantity", "unit_price"),
        (
            (invoice.id, number, line.description, line.quantity, line.unit_price)
            for invoice in invoices
            for number, line in enumerate(invoice.printed.lines, start=1)
        ),
    )


def copy_rows(
    connection: psycopg.Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]
) -> None:
    """Add rows with COPY."""
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with connection.cursor().copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def reset_identity(connection: psycopg.Connection, table: str) -> None:
    """Let the next row of ``table`` get the id after the highest."""
    connection.execute(
        sql.SQL("SELECT setval(pg_get_serial_sequence({}, 'id'), max(id)) FROM {}").format(
            sql.Literal(table), sql.Identifier(table)
        )
    )


def write_pdf(attachments: Path, invoice: IssuedInvoice) -> Path:
    """Write the PDF of an invoice where its row says; return its path."""
    path = attachments / invoice.pdf_path
    if not path.parent.is_dir():
        files.make_private_directory(path.parent)
    # Not forced to disk: unlike a backup, these thousands of papers can be made again.
    partial = files.partial_path(path)
    partial.touch(mode=0o600)
    partial.write_bytes(invoice_pdf(invoice.printed))
    partial.replace(path)
    return path
