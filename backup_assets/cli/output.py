"""How do results look: tables in a terminal, tab-separated lines in a pipe, JSON where it is asked for?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

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
    """One column of a table; ``wide`` ones may be wrapped, numbers go to the right."""

    title: str
    number: bool = False
    wide: bool = False


_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red", "damaged": "bold red", "incomplete": "red"}


def say_table(columns: Sequence[Column], rows: Iterable[Sequence[str]], *, title: str = "") -> None:
    """Write rows as a table in a terminal, else as tab-separated lines without a header."""
    if not watched():
        for row in rows:
            say("\t".join(" ".join(cell.split()) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(
            column.title, justify="right" if column.number else "left", no_wrap=not column.wide, overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
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


def as_row(value: dict[str, Any], names: Sequence[str]) -> list[str]:
    """Return the values of a dictionary in order, as text; None becomes ``-``."""
    return ["-" if value[name] is None else str(value[name]) for name in names]
