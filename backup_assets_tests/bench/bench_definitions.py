"""How long do hundreds of databases take: to load, and one tick of all their schedules and sensors?"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from backup_assets.local import place_of
from backup_assets.named_stores import store_named
from backup_assets.settings import Settings
from backup_assets.settings_loading import load_settings
from backup_assets.stores.folder import FolderStore
from backup_assets_tests.sets.examples import a_manifest, put_set

SERVERS = 20
SETS = 30
#: In a process of its own, as a run's worker and the code location are. Seconds of the clock, and of the processor.
LOAD = """
import json, time, warnings
warnings.simplefilter("ignore")
clock, processor = time.monotonic(), time.process_time()
seen = {}
def mark(name):
    seen[name] = (time.monotonic() - clock, time.process_time() - processor)
import dagster
mark("import dagster")
from backup_assets.definitions import defs
mark("definitions")
repository = defs.get_repository_def()
repository.get_job(min(name for name in repository.job_names if name.endswith("_backup_job")))
mark("one job of them")
from dagster._core.remote_representation.external_data import RepositorySnap
RepositorySnap.from_def(repository, defer_snapshots=True)
mark("the whole code location")
print(json.dumps(seen))
"""
#: Every schedule and every sensor once, and the sensors again: the first look reads every manifest, later ones do not.
TICK = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
from datetime import UTC, datetime, timedelta
import dagster as dg
from backup_assets.definitions import defs
repository = defs.get_repository_def()
now = datetime.now(UTC)
seen = {}
def sensors(instance):
    for sensor in repository.sensor_defs:
        missed = sensor.name.endswith("missed_slots_sensor")
        cursor = (now - timedelta(days=1, hours=6)).replace(hour=0, minute=0).isoformat() if missed else None
        with dg.build_sensor_context(
            instance=instance, sensor_name=sensor.name, cursor=cursor, repository_def=repository
        ) as context:
            sensor.evaluate_tick(context)
def schedules(instance):
    for schedule in repository.schedule_defs:
        with dg.build_schedule_context(
            instance=instance, scheduled_execution_time=now, repository_def=repository
        ) as context:
            schedule.evaluate_tick(context)
# In memory: to open its own database, which takes Dagster 30 ms of each tick of each schedule, is not ours.
with dg.DagsterInstance.ephemeral() as instance:
    for name, tick in (("schedules", schedules), ("sensors, first look", sensors), ("sensors, next look", sensors)):
        clock, processor = time.monotonic(), time.process_time()
        tick(instance)
        seen[name] = (time.monotonic() - clock, time.process_time() - processor)
print(json.dumps(seen))
"""

Figures = dict[str, list[float]]


def configured(home: Path, databases: int, *, bucket: bool) -> dict[str, Any]:
    """Return settings of so many databases on 20 servers, a quarter of them important and backed up every six hours."""
    for directory in ("usb", "pdf"):
        (home / directory).mkdir(parents=True, exist_ok=True)
    stores: dict[str, Any] = {"usb": {"kind": "folder", "directory": str(home / "usb"), "off_site": True}}
    if bucket:  # only loaded: where it is asked, the network is what takes long
        stores["tokyo"] = {"kind": "s3", "bucket": "backups", "sse_s3": "AES256"}
    return {
        "env": "prod",
        "backup_dir": str(home / "local"),
        "encryption": {"recipients": ["A" * 40]} if bucket else {},
        "stores": stores,
        "databases": {f"db{place:03}": _database(home, place) for place in range(databases)},
    }


def _database(home: Path, place: int) -> dict[str, Any]:
    important = place % 4 == 0
    since = (datetime.now(UTC) - timedelta(days=SETS)).date()
    return {
        "server": {"host": f"pg{place % SERVERS}.example.com"},
        "tier": "important" if important else "ordinary",
        "schedule": {"every": "6h" if important else "day", "timezone": "Asia/Tokyo", "since": str(since)},
        "attachments": {"directory": str(home / "pdf")},
    }


def put_sets(settings: Settings, sets: int = SETS) -> None:
    """Put a set of each of the last days into the local store and the folder of every database."""
    newest = datetime.now(UTC) - timedelta(hours=2)
    first, *others = settings.databases
    for store in (store_named(settings, "local"), store_named(settings, "usb")):
        assert isinstance(store, FolderStore)
        for day in range(sets):
            manifest = a_manifest(newest - timedelta(days=day), run=f"{day:08x}", tables=20)
            put_set(store, manifest.model_copy(update={"database": first.name}), place=place_of(first, settings))
        made = store.path_of(first.store_prefix)
        for database in others:  # not through the store, which waits for the disk with every file
            copied = Path(shutil.copytree(made, made.with_name(database.store_prefix)))
            for path in copied.rglob("*.manifest.json"):
                path.write_text(path.read_text().replace(f'"{first.name}"', f'"{database.name}"'))


def in_process(script: str, home: Path) -> dict[str, tuple[float, float]]:
    """Return what a script measured in a process of its own: seconds of the clock, and of the processor."""
    environment = {key: value for key, value in os.environ.items() if key != "DAGSTER_HOME"}
    argv = [sys.executable, "-c", script]
    done = subprocess.run(argv, cwd=home, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return {name: (wall, cpu) for name, (wall, cpu) in json.loads(done.stdout.splitlines()[-1]).items()}


def prepare(home: Path, databases: int, *, bucket: bool = False, sets: int = 0) -> Path:
    """Return a directory with the settings, and the sets, of so many databases."""
    directory = home / f"{databases}-{'bucket' if bucket else 'folders'}"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    tree = configured(directory.absolute(), databases, bucket=bucket)
    (directory / "backup.yaml").write_text(yaml.safe_dump(tree))
    if sets:
        put_sets(load_settings({}, directory), sets)
    return directory


def measure(home: Path, rounds: int, say: Callable[[str], None]) -> Figures:
    """Return the seconds of every step, by the number of databases."""
    results: Figures = {}
    for databases in (50, 100, 200):
        say(f"{databases} databases")
        loading = prepare(home, databases, bucket=True)
        ticking = prepare(home, databases, sets=SETS)
        for _ in range(rounds):
            for script, directory in ((LOAD, loading), (TICK, ticking)):
                for name, (wall, cpu) in in_process(script, directory).items():
                    results.setdefault(f"{databases} databases: {name}", []).append(wall)
                    results.setdefault(f"{databases} databases: {name}, processor", []).append(cpu)
    return results
