"""What does an invoice look like as a PDF, written without any library or font file?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

#: A standard font of every Japanese-capable viewer; it is named, not embedded, so that a page stays about 3 kB.
FONT = "HeiseiKakuGo-W5"
LEFT, RIGHT, TOP = 56.0, 539.0, 780.0  # points, on A4 (595 x 842)
LINES_PER_PAGE = 20


@dataclass(frozen=True)
class InvoiceLine:
    """One line of an invoice; ``amount`` in yen."""

    description: str
    quantity: Decimal
    unit_price: int
    amount: int


@dataclass(frozen=True)
class Invoice:
    """What is printed on an invoice; amounts in yen."""

    number: str
    customer: str
    address: str
    subject: str
    issued_on: date
    due_on: date
    lines: tuple[InvoiceLine, ...]
    net: int
    tax: int


def invoice_pdf(invoice: Invoice) -> bytes:
    """Return the invoice as a complete PDF 1.5 file of one page. Raises ValueError when it has too many lines."""
    if len(invoice.lines) > LINES_PER_PAGE:
        raise ValueError(f"{invoice.number} has more than {LINES_PER_PAGE} lines")
    content = _page(invoice)
    title = (b"\xfe\xff" + f"請求書 {invoice.number}".encode("utf-16-be")).hex().upper()
    return _document(
        [
            "<< /Type /Catalog /Pages 2 0 R /Lang (ja-JP) >>",
            "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            (
                "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 7 0 R "
                "/Resources << /Font << /F1 4 0 R >> >> >>"
            ),
            (
                f"<< /Type /Font /Subtype /Type0 /BaseFont /{FONT}-UniJIS-UTF16-H /Encoding /UniJIS-UTF16-H "
                "/DescendantFonts [5 0 R] >>"
            ),
            (
                f"<< /Type /Font /Subtype /CIDFontType0 /BaseFont /{FONT} /FontDescriptor 6 0 R /DW 1000 /W [1 94 500] "
                "/CIDSystemInfo << /Registry (Adobe) /Ordering (Japan1) /Supplement 4 >> >>"
            ),
            (
                f"<< /Type /FontDescriptor /FontName /{FONT} /Flags 4 /FontBBox [-92 -250 1010 922] /ItalicAngle 0 "
                "/Ascent 752 /Descent -221 /CapHeight 709 /StemV 114 >>"
            ),
            f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
            f"<< /Title <{title}> /Producer (backup_assets demo) >>",
        ]
    )


def _page(invoice: Invoice) -> str:
    parts = [
        _text(250, TOP, 22, "請 求 書"),
        _right(RIGHT, TOP - 40, 10, f"請求番号: {invoice.number}"),
        _right(RIGHT, TOP - 55, 10, f"発行日: {_day(invoice.issued_on)}"),
        _text(LEFT, TOP - 50, 14, f"{invoice.customer} 御中"),
        _text(LEFT, TOP - 68, 9, invoice.address),
        _text(LEFT, TOP - 100, 11, f"件名: {invoice.subject}"),
        _text(LEFT, TOP - 125, 14, f"ご請求金額 {invoice.net + invoice.tax:,}円(税込)"),
        _text(LEFT, TOP - 143, 10, f"お支払期限: {_day(invoice.due_on)}"),
        _right(RIGHT, TOP - 100, 10, "イーアールピー株式会社"),
        _right(RIGHT, TOP - 114, 9, "東京都千代田区丸の内1丁目1番1号"),
    ]
    y = TOP - 180
    parts += _row(y, ("品目", "数量", "単価", "金額"))
    parts.append(_rule(y - 6))
    for line in invoice.lines:
        y -= 20
        parts += _row(y, (line.description, f"{line.quantity:,}", f"{line.unit_price:,}", f"{line.amount:,}"))
    parts.append(_rule(y - 8))
    totals = (("小計", invoice.net), ("消費税(10%)", invoice.tax), ("合計", invoice.net + invoice.tax))
    for label, amount in totals:
        y -= 24
        parts += [_right(430, y, 10, label), _right(RIGHT, y, 10, f"{amount:,}円")]
    return "\n".join(parts)


def _row(y: float, cells: Sequence[str]) -> list[str]:
    description, quantity, unit_price, amount = cells
    return [
        _text(LEFT, y, 10, description),
        _right(350, y, 10, quantity),
        _right(440, y, 10, unit_price),
        _right(RIGHT, y, 10, amount),
    ]


def _day(day: date) -> str:
    return f"{day.year}年{day.month}月{day.day}日"


def _rule(y: float) -> str:
    return f"0.5 w {LEFT} {y} m {RIGHT} {y} l S"


def _text(x: float, y: float, size: float, text: str) -> str:
    return f"BT /F1 {size} Tf {x:.2f} {y:.2f} Td <{text.encode('utf-16-be').hex().upper()}> Tj ET"


def _right(x: float, y: float, size: float, text: str) -> str:
    width = sum(0.5 if character < "\x7f" else 1.0 for character in text) * size
    return _text(x - width, y, size, text)


def _document(objects: Sequence[str]) -> bytes:
    """Return a PDF of these objects, numbered from 1; the first is the catalog, the last the information."""
    out = bytearray(b"%PDF-1.5\n%\xe2\xe3\xcf\xd3\n")
    offsets: list[int] = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode("ascii")
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode("ascii")
    for offset in offsets:
        out += f"{offset:010d} 00000 n \n".encode("ascii")
    trailer = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R /Info {len(objects)} 0 R >>\n"
    return bytes(out) + f"{trailer}startxref\n{start}\n%%EOF\n".encode("ascii")
