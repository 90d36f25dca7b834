"""Which rows does the sample ERP consist of, always the same for the same seed, size and last day?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from random import Random

from backup_assets.demo import words
from backup_assets.demo.pdf import Invoice, InvoiceLine

SEED = 4
#: How far the history reaches back from its last day.
HISTORY_DAYS = 730
TAX_RATE = Decimal("0.10")
JOURNAL_COLUMNS = ("voucher", "entry_date", "account_code", "debit", "credit", "memo")
_JOURNAL_CHUNK = 5000
_DEPARTMENTS = ("営業", "開発", "経理", "総務", "役員")


@dataclass(frozen=True)
class Size:
    """How many rows of each kind; ``journal_rows`` is reached within one voucher."""

    customers: int
    projects: int
    employees: int
    invoices: int
    timesheets: int
    journal_rows: int


SIZES = {
    "small": Size(40, 60, 15, 200, 2_000, 3_000),
    "medium": Size(400, 600, 60, 2_000, 20_000, 300_000),
    "large": Size(4_000, 6_000, 400, 20_000, 400_000, 13_600_000),
}


@dataclass(frozen=True)
class Customer:
    """A customer as it is invoiced; ``id`` counts from 1."""

    id: int
    written: words.Written
    address: words.Address
    phone: str
    memo: str


@dataclass(frozen=True)
class Project:
    """A project as it is invoiced; ``id`` counts from 1, ``budget`` in yen, ``period`` first and last day."""

    id: int
    customer_id: int
    name: str
    period: tuple[date, date]
    budget: int


@dataclass(frozen=True)
class IssuedInvoice:
    """An invoice with the places it has in the database and among the attachments."""

    id: int
    customer_id: int
    project_id: int
    status: str
    printed: Invoice

    @property
    def pdf_path(self) -> str:
        """Path of its PDF, relative to the attachments directory."""
        day = self.printed.issued_on
        return f"invoices/{day.year}/{day.month:02d}/{self.printed.number}.pdf"


@dataclass(frozen=True)
class History:
    """Everything that is generated, small parts as tuples; the journal is streamed by :func:`journal_chunks`."""

    size: Size
    seed: int
    last_day: date
    employees: tuple[words.Written, ...]
    customers: tuple[Customer, ...]
    projects: tuple[Project, ...]

    @property
    def first_day(self) -> date:
        """Day of the oldest entries."""
        return self.last_day - timedelta(days=HISTORY_DAYS)

    def day(self, index: int, count: int) -> date:
        """Return the day of the ``index``-th of ``count`` things in order; the last one is on the last day."""
        return self.first_day + timedelta(days=HISTORY_DAYS * (index + 1) // count)

    def invoices(self) -> Iterator[IssuedInvoice]:
        """Yield all invoices, oldest first, the same at every call."""
        random = Random(f"{self.seed} invoices")  # noqa: S311 - repeatable on purpose
        for index in range(self.size.invoices):
            project = random.choice(self.projects)
            customer = self.customers[project.customer_id - 1]
            day = self.day(index, self.size.invoices)
            yield issue_invoice(random, index + 1, day, self.last_day, customer, project)

    def timesheets(self) -> Iterator[tuple[int, int, date, Decimal, str]]:
        """Yield employee, project, day, hours and task, oldest first."""
        random = Random(f"{self.seed} timesheets")  # noqa: S311
        for index in range(self.size.timesheets):
            yield (
                random.randint(1, self.size.employees),
                random.randint(1, self.size.projects),
                self.day(index, self.size.timesheets),
                Decimal(random.randint(1, 32)) / 4,
                random.choice(words.TASKS),
            )


def make_history(size: Size, seed: int, last_day: date) -> History:
    """Return the history of an ERP of that size that ends on ``last_day``."""
    random = Random(seed)  # noqa: S311
    customers = tuple(
        Customer(
            id=index + 1,
            written=words.company(random),
            address=words.address(random),
            phone=f"0{random.randint(3, 9)}-{random.randint(1000, 9999)}-{random.randint(1000, 9999)}",
            memo=random.choice(words.MEMOS),
        )
        for index in range(size.customers)
    )
    projects = tuple(
        _project(random, index, random.choice(customers), last_day - timedelta(days=HISTORY_DAYS))
        for index in range(size.projects)
    )
    employees = tuple(words.person(random) for _ in range(size.employees))
    return History(size, seed, last_day, employees, customers, projects)


def _project(random: Random, index: int, customer: Customer, first_day: date) -> Project:
    begin = first_day + timedelta(days=random.randint(0, HISTORY_DAYS - 30))
    end = begin + timedelta(days=random.randint(30, 400))
    name = f"{customer.written.name} {random.choice(words.WORKS)}"
    return Project(index + 1, customer.id, name, (begin, end), random.randint(5, 500) * 100_000)


def issue_invoice(
    random: Random, invoice_id: int, day: date, today: date, customer: Customer, project: Project
) -> IssuedInvoice:
    """Return an invoice issued on ``day`` whose status is as of ``today``."""
    lines: list[InvoiceLine] = []
    for _ in range(random.randint(1, 6)):
        quantity, price = Decimal(random.randint(1, 80)) / 4, random.randint(5, 900) * 1_000
        lines.append(InvoiceLine(random.choice(words.LINE_ITEMS), quantity, price, int(quantity * price)))
    net = sum(line.amount for line in lines)
    age = (today - day).days
    status = "取消" if random.random() < 0.02 else "入金済" if age > 60 and random.random() < 0.95 else "発行済"
    printed = Invoice(
        number=f"INV-{day.year}-{invoice_id:06d}",
        customer=customer.written.name,
        address=f"〒{customer.address.postal_code} {customer.address.prefecture}{customer.address.street}",
        subject=project.name,
        issued_on=day,
        due_on=day + timedelta(days=30),
        lines=tuple(lines),
        net=net,
        tax=int(net * TAX_RATE),
    )
    return IssuedInvoice(invoice_id, customer.id, project.id, status, printed)


def invoice_entries(voucher: int, invoice: Invoice) -> tuple[tuple[int, date, str, int, int, str], ...]:
    """Return the journal entries of an invoice in the order of ``JOURNAL_COLUMNS``; debit equals credit."""
    day, memo = invoice.issued_on, f"{invoice.customer} {invoice.number}"
    return (
        (voucher, day, "1210", invoice.net + invoice.tax, 0, memo),
        (voucher, day, "4110", 0, invoice.net, memo),
        (voucher, day, "2210", 0, invoice.tax, memo),
    )


def journal_chunks(history: History) -> Iterator[str]:
    """Yield the whole journal as pieces of COPY text in bounded memory: sales first, then expenses up to the size."""
    lines: list[str] = []
    rows = voucher = 0
    for issued in history.invoices():
        voucher += 1
        entries = invoice_entries(voucher, issued.printed)
        lines += ["\t".join(map(str, entry)) + "\n" for entry in entries]
        rows += len(entries)
        if len(lines) >= _JOURNAL_CHUNK:
            yield "".join(lines)
            lines.clear()
    random = Random(f"{history.seed} expenses")  # noqa: S311
    vouchers = max(0, (history.size.journal_rows - rows) // 2)
    for index in range(vouchers):
        voucher += 1
        account, name, memo = words.EXPENSES[int(random.random() * len(words.EXPENSES))]
        day, yen = history.day(index, vouchers), 100 + int(random.random() * 200_000)
        lines.append(f"{voucher}\t{day}\t{account}\t{yen}\t0\t{name} {memo}\n")
        lines.append(f"{voucher}\t{day}\t1110\t0\t{yen}\t{name} {memo}\n")
        if len(lines) >= _JOURNAL_CHUNK:
            yield "".join(lines)
            lines.clear()
    yield "".join(lines)


def digest(text: str) -> bytes:
    """Return what the ERP stores instead of a password or a token."""
    return hashlib.sha256(text.encode()).digest()


def department(index: int) -> str:
    """Return the department of the ``index``-th employee."""
    return _DEPARTMENTS[index % len(_DEPARTMENTS)]
