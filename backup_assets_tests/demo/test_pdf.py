from __future__ import annotations

import re
import shutil
import subprocess
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from backup_assets.demo.pdf import LINES_PER_PAGE, Invoice, InvoiceLine, invoice_pdf


def an_invoice(lines: int = 2) -> Invoice:
    return Invoice(
        number="INV-2026-000123",
        customer="株式会社髙﨑製作所",
        address="〒100-0005 東京都千代田区丸の内1丁目1番1号",
        subject="基幹システム改修🗄️",
        issued_on=date(2026, 11, 20),
        due_on=date(2026, 12, 20),
        lines=(InvoiceLine("要件定義", Decimal("1.50"), 800_000, 1_200_000),) * lines,
        net=2_400_000,
        tax=240_000,
    )


def shown_texts(pdf: bytes) -> list[str]:
    return [bytes.fromhex(text.decode()).decode("utf-16-be") for text in re.findall(rb"<([0-9A-F]+)> Tj", pdf)]


def test_the_customer_and_the_amounts_are_shown():
    texts = shown_texts(invoice_pdf(an_invoice()))

    assert "株式会社髙﨑製作所 御中" in texts
    assert "ご請求金額 2,640,000円(税込)" in texts
    assert "240,000円" in texts
    assert "請求番号: INV-2026-000123" in texts


def test_every_object_is_where_the_cross_references_say():
    pdf = invoice_pdf(an_invoice())

    start = int(pdf.rsplit(b"startxref\n", 1)[1].split()[0])
    assert pdf[start:].startswith(b"xref\n0 9\n")
    entries = pdf[start:].splitlines(keepends=True)[2:11]
    assert {len(entry) for entry in entries} == {20}
    for number, entry in enumerate(entries[1:], start=1):
        assert pdf[int(entry[:10]) :].startswith(f"{number} 0 obj\n".encode())


def test_the_length_of_the_page_is_right():
    pdf = invoice_pdf(an_invoice())

    match = re.search(rb"/Length (\d+) >>\nstream\n", pdf)
    assert match is not None
    assert pdf[match.end() + int(match[1]) :].startswith(b"\nendstream")


def test_an_invoice_that_does_not_fit_on_the_page_is_an_error():
    invoice_pdf(an_invoice(LINES_PER_PAGE))
    with pytest.raises(ValueError, match="INV-2026-000123"):
        invoice_pdf(an_invoice(LINES_PER_PAGE + 1))


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="poppler-utils is not installed")
def test_a_viewer_reads_the_japanese_text(tmp_path: Path):
    (tmp_path / "invoice.pdf").write_bytes(invoice_pdf(an_invoice()))

    read = subprocess.run(
        ["pdftotext", str(tmp_path / "invoice.pdf"), "-"], capture_output=True, check=True, timeout=60
    )

    assert "株式会社髙﨑製作所 御中" in read.stdout.decode()
    assert b"Error" not in read.stderr
