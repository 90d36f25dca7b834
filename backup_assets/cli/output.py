"""How do results look: tables in a terminal, tab-separated lines in a pipe, JSON where it is asked for?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from backup_assets.errors import BackupError


def say(text: str = "") -> None:
    """Write a line to standard output."""
    sys.stdout.write(f"{text}\n")


def tell(text: str) -> None:
    """Write a line to standard error, for whoever watches."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def tell_error(error: BackupError) -> None:
    """Write an error as its three lines to standard error."""
    sys.stdout.flush()
    tell(f"error: {error}")


def say_json(value: object) -> None:
    """Write a value as JSON; times are ISO 8601 in UTC, sizes bytes, durations seconds."""
    say(json.dumps(value, indent=2, ensure_ascii=False, default=_plain))


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return str(value)


def watched() -> bool:
    """Return whether a person reads standard output."""
    return sys.stdout.isatty()


@dataclass(frozen=True)
class Column:
    """One column of a table. In a terminal all may be wrapped, except a first one that is not ``wide``."""

    title: str
    number: bool = False
    wide: bool = False


_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red", "damaged": "bold red", "incomplete": "red"}


def say_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Write rows as a table in a terminal, else as tab-separated lines without a header."""
    if not watched():
        for row in rows:
            say("\t".join(" ".join(cell.split()) for cell in row))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    lines = [tuple(row) for row in rows]
    # Columns without any value are left out: a terminal is narrow, and ids are never cut.
    shown = [place for place in range(len(columns)) if place == 0 or any(row[place] not in ("", "-") for row in lines)]
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for place in shown:
        column = columns[place]
        least = max((len(row[0]) for row in lines), default=0) if place == 0 and not column.wide else None
        table.add_column(column.title, justify="right" if column.number else "left", overflow="fold", min_width=least)
    for row in lines:
        table.add_row(*(Text(row[place], style=_STYLES.get(row[place], "")) for place in shown))
    Console().print(table)


def say_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Write named values, one a line: aligned in a terminal, else with a tab between."""
    width = max((len(name) for name, _ in facts), default=0) + 2
    for name, value in facts:
        say(f"{name + ':':{width}}{value}" if watched() else f"{name}\t{value}")


def heading(text: str) -> None:
    """Write a heading, in a terminal only."""
    if watched():
        from rich.console import Console

        Console().print(f"\n[bold]{text}[/bold]")


def local_time(moment: datetime) -> str:
    """Return a time as the operator's clock shows it, with its offset: ``2026-11-22 02:00:03+0900``."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S%z")


def age(since: datetime, now: datetime) -> str:
    """Return how long ago something was, in its largest unit: ``3 d``, ``5 h``, ``12 min``, ``40 s``."""
    passed = max(now - since, timedelta())
    for unit, seconds in (("d", 86400), ("h", 3600), ("min", 60)):
        if passed.total_seconds() >= seconds:
            return f"{int(passed.total_seconds() // seconds)} {unit}"
    return f"{int(passed.total_seconds())} s"
