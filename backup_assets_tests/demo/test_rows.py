from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import date
from itertools import pairwise

import pytest

from backup_assets.demo.rows import SIZES, journal_chunks, make_history

LAST_DAY = date(2026, 11, 20)


def journal(size: str = "small", seed: int = 4) -> list[list[str]]:
    history = make_history(SIZES[size], seed, LAST_DAY)
    return [line.split("\t") for chunk in journal_chunks(history) for line in chunk.splitlines()]


def test_the_same_seed_gives_the_same_history():
    histories = [make_history(SIZES["small"], 4, LAST_DAY) for _ in range(2)]

    assert histories[0] == histories[1]
    assert list(histories[0].invoices()) == list(histories[1].invoices())
    assert list(histories[0].timesheets()) == list(histories[1].timesheets())
    assert journal() == journal()


def test_another_seed_gives_another_history():
    assert make_history(SIZES["small"], 4, LAST_DAY) != make_history(SIZES["small"], 5, LAST_DAY)
    assert journal(seed=4) != journal(seed=5)


def test_every_voucher_balances():
    balances: dict[str, int] = defaultdict(int)
    for voucher, _, _, debit, credit, _ in journal():
        balances[voucher] += int(debit) - int(credit)

    assert len(balances) > 1000
    assert set(balances.values()) == {0}


@pytest.mark.parametrize("rows", [1_000, 10_001])
def test_the_journal_reaches_its_size_within_a_voucher(rows: int):
    history = make_history(replace(SIZES["small"], journal_rows=rows), 4, LAST_DAY)

    assert 0 <= rows - sum(chunk.count("\n") for chunk in journal_chunks(history)) < 2


def test_the_history_ends_on_its_last_day_in_order():
    invoices = list(make_history(SIZES["small"], 4, LAST_DAY).invoices())

    assert invoices[-1].printed.issued_on == LAST_DAY
    assert all(earlier.printed.issued_on <= later.printed.issued_on for earlier, later in pairwise(invoices))
    assert len({invoice.pdf_path for invoice in invoices}) == len(invoices) == 200


def test_an_invoice_adds_up_and_is_filed_by_year_and_month():
    for invoice in make_history(SIZES["small"], 4, LAST_DAY).invoices():
        printed = invoice.printed
        assert printed.net == sum(line.amount for line in printed.lines)
        assert invoice.pdf_path == f"invoices/{printed.issued_on:%Y/%m}/{printed.number}.pdf"
