"""Which numbers does a monitoring system get to see?"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from backup_assets.errors import EnvironmentFault
from backup_assets.files import PARTIAL_SUFFIX, fsync_directory
from backup_assets.watch.figures import DatabaseFigures, ObjectiveState, StoreFigures

#: Sorted by how bad they are, so that `> 1` is a condition; a state of which nothing is known is worse than met.
STATES: dict[ObjectiveState, int] = {"met": 0, "unknown": 1, "warn": 2, "broken": 3}
DATABASE, STORE, OBJECTIVE = ("database",), ("database", "store"), ("database", "objective")


class Metric(NamedTuple):
    """One gauge: its name without `backup_assets_`, its labels, and what it says."""

    name: str
    labels: tuple[str, ...]
    text: str


METRICS = (
    Metric("measured_timestamp_seconds", DATABASE, "When all of this was measured, Unix time."),
    Metric("rpo_target_seconds", DATABASE, "How old the newest complete set may be."),
    Metric("rto_target_seconds", DATABASE, "How long a restore may take."),
    Metric("newest_set_timestamp_seconds", DATABASE, "The moment that the newest complete set of any store shows."),
    Metric("newest_set_size_bytes", DATABASE, "Stored size of that set."),
    Metric("proven_set_timestamp_seconds", DATABASE, "The moment that the newest set proven by a restore shows."),
    Metric("last_proof_timestamp_seconds", DATABASE, "When that set was proven."),
    Metric("drill_timestamp_seconds", DATABASE, "When the last drill began."),
    Metric("drill_duration_seconds", DATABASE, "How long the last drill took."),
    Metric("drill_passed", DATABASE, "1: the last drill passed; 0: it failed."),
    Metric("restore_forecast_seconds", DATABASE, "How long a restore would take, judged by those that were made."),
    Metric("missed_slots", DATABASE, "Slots of the last 14 days that are over without a complete set."),
    Metric("objective_state", OBJECTIVE, "0 met, 1 unknown, 2 warn, 3 broken."),
    Metric("objective_measured", OBJECTIVE, "What was measured, in the unit that docs/watch.md names."),
    Metric("objective_wanted", OBJECTIVE, "What was promised, in the same unit."),
    Metric("store_up", STORE, "1: the store answers; 0: it does not, and has no other figures."),
    Metric("store_sets", STORE, "Complete sets."),
    Metric("store_incomplete_sets", STORE, "Sets with a missing file or one of another size."),
    Metric("store_lost_sets", STORE, "Sets of any kind that have lost files there, and should have them."),
    Metric("store_vanished_sets", STORE, "Sets that were copied there and are gone, deleted by nothing that is known."),
    Metric("store_mixed_servers", STORE, "Servers that write there under this name; 0 where they are not several."),
    Metric("store_damaged_documents", STORE, "Manifests and records that cannot be read."),
    Metric("store_size_bytes", STORE, "Size of all sets."),
    Metric("store_free_bytes", STORE, "Room that is left, where there is a limit."),
    Metric("store_off_site", STORE, "1: its copies survive the loss of this site."),
    Metric("store_newest_set_timestamp_seconds", STORE, "The moment that the newest complete set there shows."),
    Metric("store_proven_set_timestamp_seconds", STORE, "The moment that the newest proven set there shows."),
)
PREFIX = "backup_assets_"


def exposition(measured: Iterable[DatabaseFigures]) -> bytes:
    """Return the figures in Prometheus' text format; what is not known has no sample."""
    # Of its own: a store that is gone leaves no number behind.
    registry = CollectorRegistry()
    gauges = {one.name: Gauge(PREFIX + one.name, one.text, one.labels, registry=registry) for one in METRICS}
    for figures in measured:
        for name, value in _of_database(figures):
            gauges[name].labels(figures.database).set(value)
        for objective in figures.objectives:
            labels = (figures.database, objective.name)
            gauges["objective_state"].labels(*labels).set(STATES[objective.state])
            if objective.measured is not None:
                gauges["objective_measured"].labels(*labels).set(objective.measured)
            if objective.wanted is not None:
                gauges["objective_wanted"].labels(*labels).set(objective.wanted)
        for store in figures.stores:
            for name, value in _of_store(store):
                gauges[name].labels(figures.database, store.name).set(value)
    return generate_latest(registry)


def _of_database(figures: DatabaseFigures) -> Sequence[tuple[str, float]]:
    newest = [store.newest for store in figures.stores if store.newest]
    proven = [store.proven for store in figures.stores if store.proven]
    found = [
        ("measured_timestamp_seconds", figures.at.timestamp()),
        ("rpo_target_seconds", figures.rpo_hours * 3600),
        ("rto_target_seconds", figures.rto_hours * 3600),
        ("missed_slots", float(len(figures.missed_slots))),
    ]
    if newest:
        one = max(newest, key=lambda one: one.taken_at)
        found.append(("newest_set_timestamp_seconds", one.taken_at.timestamp()))
        found.append(("newest_set_size_bytes", float(one.size_bytes)))
    if proven:
        one = max(proven, key=lambda one: one.taken_at)
        found.append(("proven_set_timestamp_seconds", one.taken_at.timestamp()))
        found += _moment("last_proof_timestamp_seconds", one.verified_at)
    if figures.drill is not None:
        found.append(("drill_timestamp_seconds", figures.drill.at.timestamp()))
        found.append(("drill_duration_seconds", figures.drill.seconds))
        found.append(("drill_passed", float(figures.drill.passed)))
    if figures.restore_forecast_seconds is not None:
        found.append(("restore_forecast_seconds", figures.restore_forecast_seconds))
    return found


def _of_store(store: StoreFigures) -> Sequence[tuple[str, float]]:
    if store.error:
        return [("store_up", 0.0)]
    found = [
        ("store_up", 1.0),
        ("store_sets", float(store.sets)),
        ("store_incomplete_sets", float(store.incomplete)),
        ("store_lost_sets", float(len(store.lost))),
        ("store_mixed_servers", float(len(store.servers))),
        ("store_damaged_documents", float(store.damaged)),
        ("store_size_bytes", float(store.bytes)),
        ("store_off_site", float(store.off_site)),
    ]
    if store.vanished is not None:
        found.append(("store_vanished_sets", float(len(store.vanished))))
    if store.free_bytes is not None:
        found.append(("store_free_bytes", float(store.free_bytes)))
    found += _moment("store_newest_set_timestamp_seconds", store.newest.taken_at if store.newest else None)
    found += _moment("store_proven_set_timestamp_seconds", store.proven.taken_at if store.proven else None)
    return found


def _moment(name: str, moment: datetime | None) -> list[tuple[str, float]]:
    return [] if moment is None else [(name, moment.timestamp())]


def write_textfile(path: Path, content: bytes) -> None:
    """Replace the file that node_exporter reads, whole or not at all; raises EnvironmentFault when it cannot be.

    Mode 0644, because node_exporter is another user; no figure is a secret.
    """
    try:
        # Another name than `*.prom`: what is not whole is not read.
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=PARTIAL_SUFFIX, dir=path.parent)
        partial = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as handle:
                handle.write(content)
                handle.flush()
                os.fchmod(handle.fileno(), 0o644)
                os.fsync(handle.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        fsync_directory(path.parent)
    except OSError as error:
        raise EnvironmentFault(
            f"the metrics cannot be written to {path}",
            why=error.strerror or str(error),
            remedy="name a file in a directory that exists and that this user can write (--textfile)",
        ) from error
