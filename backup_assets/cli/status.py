"""How are the promises kept, as a person, cron or a monitoring system asks it?"""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from backup_assets.cli.context import chosen_databases
from backup_assets.cli.output import Column, age, heading, say, say_json, say_table
from backup_assets.named_stores import LOCAL, configured_store
from backup_assets.progress import human_bytes
from backup_assets.settings_loading import load_settings
from backup_assets.watch.figures import DatabaseFigures, Objective, SetFigures, StoreFigures
from backup_assets.watch.kinds import OF_FURTHER_STORES
from backup_assets.watch.measuring import measure

BROKEN = 1
OBJECTIVES = (
    Column("objective"),
    Column("state"),
    Column("measured", number=True),
    Column("wanted", number=True),
    Column("found", wide=True),
)
STORES = (
    Column("store"),
    Column("state"),
    Column("sets", number=True),
    Column("bad", number=True),
    Column("size", number=True),
    Column("free", number=True),
    Column("newest"),
    Column("proven"),
    Column("found", wide=True),
)
#: As the tables of other commands colour them.
_SHOWN = {"met": "ok", "warn": "warn", "broken": "fail", "unknown": "unknown"}


def status(arguments: Namespace) -> int:
    """Measure every database, or one; status 1 when an objective is broken (with `--strict`: not met) or sets are lost.

    Without any further store that 3-2-1 does not hold is shown, and counts with `--strict` only: it is how this was
    set up, and a check that is always red hides the day on which something breaks.
    With ``--store`` that store alone is told, and is broken when it does not answer or its newest set is too old.
    """
    settings = load_settings()
    databases = chosen_databases(settings, arguments.database)
    if arguments.store not in (None, LOCAL):
        configured_store(settings, arguments.store)
    now = datetime.now(UTC)
    measured = [measure(database, settings, now) for database in databases]
    if arguments.store is None:
        bad = [
            one
            for figures in measured
            for one in (*_objectives(figures, strict=arguments.strict), *_of_every_store(figures))
        ]
    else:
        bad = [one for figures in measured for one in _of_store(figures, arguments.store)]
    if arguments.json:
        say_json({"ok": not bad, "databases": [_as_json(figures, arguments.store) for figures in measured]})
    else:
        say(_summary(measured, bad))
        for figures in measured:
            _say(figures, arguments.store)
    return BROKEN if bad else 0


def _objectives(figures: DatabaseFigures, *, strict: bool) -> list[str]:
    states = ("broken", "warn", "unknown") if strict else ("broken",)
    return [
        f"{figures.database}: {one.name}: {one.text}"
        for one in figures.objectives
        if one.state in states and (strict or not _as_set_up(figures, one))
    ]


def _as_set_up(figures: DatabaseFigures, objective: Objective) -> bool:
    """Return whether an objective is broken because no further store was ever configured."""
    return objective.state == "broken" and objective.name in OF_FURTHER_STORES and len(figures.stores) == 1


def _of_store(figures: DatabaseFigures, name: str) -> list[str]:
    stores = [one for one in figures.stores if one.name == name]
    late = [f"{figures.database}: {one.error or one.late}" for one in stores if one.error or one.late]
    return [*late, *(f"{figures.database}: {name}: {one}" for store in stores for one in _wrong_in(store))]


def _of_every_store(figures: DatabaseFigures) -> list[str]:
    """Return what no objective tells: the newest set may be there, and younger than promised, all the same."""
    return [f"{figures.database}: {store.name}: {one}" for store in figures.stores for one in _wrong_in(store)]


def _wrong_in(store: StoreFigures) -> list[str]:
    found = (
        f"sets that lost files: {len(store.lost)}" if store.lost else "",
        f"sets that were copied there and are gone: {len(store.vanished)}" if store.vanished else "",
        f"servers that write there under this name: {len(store.servers)}" if store.servers else "",
    )
    return [one for one in found if one]


def _summary(measured: list[DatabaseFigures], bad: list[str]) -> str:
    """Return one line: what Nagios shows, and cron's mail begins with."""
    if bad:
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        return f"BROKEN: {bad[0]}{more}"
    names = ", ".join(figures.database for figures in measured)
    warnings = [one for figures in measured for one in figures.objectives if one.state in ("warn", "unknown")]
    alone = [figures.database for figures in measured for one in figures.objectives if _as_set_up(figures, one)]
    if warnings or alone:
        looks = f"nothing is broken, {len(warnings)} to look at: {', '.join(w.name for w in warnings)}"
        if alone:
            of = ", ".join(dict.fromkeys(alone))
            looks += f"; 3-2-1 does not hold for {of}: no further store is configured (docs/off-site.md)"
        return f"OK: {names}: {looks}"
    return f"OK: {names}: every objective is met"


def _say(figures: DatabaseFigures, store: str | None) -> None:
    heading(f"{figures.database} ({figures.tier})")
    if store is None:
        say_table(OBJECTIVES, [_objective_row(one) for one in figures.objectives])
    say_table(STORES, [_store_row(one, figures.at) for one in figures.stores if store in (None, one.name)])


def _objective_row(one: Objective) -> list[str]:
    return [one.name, _SHOWN[one.state], _number(one.measured, one.unit), _number(one.wanted, one.unit), one.text]


def _number(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.2f}".rstrip("0").rstrip(".") + f" {unit}"


def _store_row(one: StoreFigures, now: datetime) -> list[str]:
    if one.error:
        return [one.name, "fail", "-", "-", "-", "-", "-", "-", one.error]
    wrong = _wrong_in(one)
    notes = [one.late, *wrong, one.not_apart, "off-site" if one.off_site else "", one.region]
    return [
        one.name,
        "fail" if one.late or wrong else "warn" if one.incomplete or one.damaged else "ok",
        str(one.sets),
        str(one.incomplete + one.damaged),
        human_bytes(one.bytes),
        "-" if one.free_bytes is None else human_bytes(one.free_bytes),
        _ago(one.newest, now),
        _ago(one.proven, now),
        "; ".join(note for note in notes if note) or "-",
    ]


def _ago(one: SetFigures | None, now: datetime) -> str:
    return "-" if one is None else f"{age(one.taken_at, now)} ago"


def _as_json(figures: DatabaseFigures, store: str | None) -> dict[str, Any]:
    found = asdict(figures)
    if store is not None:
        found["stores"] = [one for one in found["stores"] if one["name"] == store]
    return found
