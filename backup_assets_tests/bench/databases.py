"""How long a whole set and its proof take, against the bare PostgreSQL tools in the same run."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from backup_assets.capture.capture import Capture
from backup_assets.capture.request import CaptureRequest
from backup_assets.demo.erp import ensure_erp
from backup_assets.local import local_store, place_of
from backup_assets.postgres.clients import Clients, choose_clients, find_clients
from backup_assets.postgres.server import Server
from backup_assets.postgres.server_binaries import choose_server_binaries, find_server_binaries
from backup_assets.postgres.throw_away import throw_away_cluster
from backup_assets.process import run
from backup_assets.restore.verification import verify_set
from backup_assets.sets.catalog import Catalog
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_capture import DumpSettings
from backup_assets.settings_server import ServerSettings
from backup_assets_tests.sources import no_log, no_progress

TIMEOUT = 3600.0


@dataclass(frozen=True)
class Bench:
    """A source to measure on, and where the results of each step go."""

    server: ServerSettings
    database: str
    workdir: Path
    clients: Clients

    @property
    def reached(self) -> Server:
        """The source as clients see it."""
        return Server.from_settings(self.server)

    def settings(self, *, jobs: int | None, hashes: str) -> tuple[DatabaseSettings, Settings]:
        """Return settings for one capture into a fresh store."""
        dump = DumpSettings.model_validate({"jobs": jobs, "content_hashes": hashes})
        database = DatabaseSettings(name="bench", database=self.database, server=self.server, dump=dump)
        backup_dir = self.workdir / f"backups-{uuid.uuid4().hex[:6]}"
        return database, Settings(backup_dir=backup_dir, databases=(database,))


def seconds(work: Callable[[], object]) -> float:
    """Return how long ``work`` took."""
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def processor_seconds(work: Callable[[], object]) -> float:
    """Return how much processor time ``work`` took in this process, whatever else the machine did."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def bare_dump(bench: Bench, *options: str, keep: Path | None = None) -> float:
    """Return the seconds of a bare pg_dump with its file on the same disk, removed unless it is to ``keep``."""
    target = keep or bench.workdir / "bare.dump"
    server = bench.reached
    argv = server.argv(bench.clients, "pg_dump", *options, f"--file={target}", "--dbname", bench.database)
    taken = seconds(lambda: run(argv, timeout=TIMEOUT, env=server.environment()))
    if keep is None:
        _remove(target)
    return taken


def own_set(bench: Bench, *, jobs: int | None, hashes: str) -> float:
    """Return the seconds of a whole committed local set: preflight, snapshot, dump, checks, globals, manifest."""
    database, settings = bench.settings(jobs=jobs, hashes=hashes)
    request = CaptureRequest(slot="2026-01-01", run_id=str(uuid.uuid4()))
    taken = seconds(lambda: Capture(database, settings, request, progress=no_progress, log=no_log).run())
    _remove(settings.backup_dir)
    return taken


def bare_restore(bench: Bench, archive: Path) -> float:
    """Return the seconds of `pg_restore -j2` into a throw-away cluster, its making and starting included."""

    def work() -> None:
        binaries = choose_server_binaries(find_server_binaries(), bench.clients.major)
        with throw_away_cluster(None, binaries) as cluster:
            server = Server.from_settings(cluster.server_settings())
            for role in ("erp4_app", "erp4_readonly"):
                _execute(server, f"CREATE ROLE {role}")
            argv = server.argv(
                bench.clients,
                "pg_restore",
                "--create",
                "--exit-on-error",
                "--jobs=2",
                "--dbname=postgres",
                str(archive),
            )
            run(argv, timeout=TIMEOUT, env=server.environment())

    return seconds(work)


def _execute(server: Server, statement: str) -> None:
    argv = server.argv(choose_clients(find_clients(), 17), "psql", "--quiet", "--command", statement, "postgres")
    run(argv, timeout=60, env=server.environment())


def own_verification(bench: Bench, settings: Settings, *, content: bool) -> float:
    """Return the seconds of verifying the newest set at level `restored`."""
    database = settings.databases[0]
    store = local_store(settings)
    chosen = Catalog(store, place_of(database, settings)).resolve()
    begun = time.monotonic()
    proof = verify_set(database, settings, store, chosen, content=content, log=no_log)
    if not proof.record.passed:
        raise AssertionError(proof.record.problems)
    return time.monotonic() - begun


def peak_memory_mb(bench: Bench) -> float:
    """Return the peak resident memory of a process of ours that captures one set, without its children."""
    script = (
        "import json,sys,uuid\n"
        "from backup_assets.capture.capture import Capture\n"
        "from backup_assets.capture.request import CaptureRequest\n"
        "from backup_assets.settings import Settings\n"
        "import backup_assets.definitions\n"  # as in a run of Dagster's
        "raw=json.load(sys.stdin); password=raw['databases'][0]['server'].pop('password')\n"
        "raw['databases'][0]['server']['password']=password\n"
        "settings=Settings.model_validate(raw)\n"
        "request=CaptureRequest(slot='2026-01-01',run_id=str(uuid.uuid4()))\n"
        "Capture(settings.databases[0],settings,request,progress=lambda *a:None,log=lambda *a:None).run()\n"
        "from backup_assets_tests.bench.databases import own_peak_mb\n"
        "print(own_peak_mb())\n"
    )
    _, settings = bench.settings(jobs=None, hashes="always")
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=settings_as_json(settings),
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT,
    )
    _remove(settings.backup_dir)
    return float(done.stdout.strip().splitlines()[-1])


def own_peak_mb() -> float:
    """Return the peak resident memory of this process in MB, as Linux counts it since its program was started.

    What `getrusage` says includes the process that started this one.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024


def settings_as_json(settings: Settings) -> str:
    """Return settings, the password included, for another process to read from its stdin."""
    raw = settings.model_dump(mode="json")
    password = settings.databases[0].server.password
    raw["databases"][0]["server"]["password"] = password.get_secret_value() if password else None
    return json.dumps(raw)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def prepared(home: Path, size: str) -> Bench:
    """Return the demo ERP of a size as a source."""
    erp = ensure_erp(home, size)
    workdir = home / "work"
    workdir.mkdir(mode=0o700, exist_ok=True)
    return Bench(erp.server, erp.database, workdir, choose_clients(find_clients(), 17))


def make_database(bench: Bench, name: str, tables: int) -> Bench:
    """Return a new database with so many small tables on the same server."""
    server = bench.server
    password = server.password.get_secret_value() if server.password else None
    options = {"host": server.host, "port": server.port, "user": server.user, "password": password}
    with psycopg.connect(dbname="postgres", autocommit=True, **options) as connection:  # type: ignore[arg-type]
        connection.execute(f"DROP DATABASE IF EXISTS {name}".encode())
        connection.execute(f"CREATE DATABASE {name}".encode())
    with psycopg.connect(dbname=name, autocommit=True, **options) as connection:  # type: ignore[arg-type]
        for first in range(0, tables, 100):
            script = ";".join(
                f"CREATE TABLE t{n} (id int PRIMARY KEY, body text); INSERT INTO t{n} VALUES ({n}, 'row')"
                for n in range(first, min(first + 100, tables))
            )
            connection.execute(script.encode())
    return Bench(bench.server, name, bench.workdir, bench.clients)


def measure(home: Path, size: str, rounds: int, log: Callable[[str], None]) -> dict[str, list[float]]:
    """Return seconds by step, one value a round; the steps of a round follow each other on the same machine."""
    bench = prepared(home, size)
    steps: dict[str, Callable[[], float]] = {
        "pg_dump -Fc --compress=zstd:1": lambda: bare_dump(bench, "-Fc", "--compress=zstd:1"),
        "whole set, no content hashes": lambda: own_set(bench, jobs=None, hashes="never"),
        "whole set, content hashes": lambda: own_set(bench, jobs=None, hashes="always"),
        "pg_dump -Fd -j2 --compress=zstd:1": lambda: bare_dump(bench, "-Fd", "-j2", "--compress=zstd:1"),
        "whole set with jobs 2, no content hashes": lambda: own_set(bench, jobs=2, hashes="never"),
        "pg_dump -Fc (gzip, the default)": lambda: bare_dump(bench, "-Fc"),
    }
    results: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds):
        for name, step in steps.items():
            results[name].append(step())
            log(f"round {number + 1}: {name}: {results[name][-1]:.2f} s")
    results |= _verification(bench, rounds, log)
    results["peak memory, MB"] = [peak_memory_mb(bench)]
    log(f"peak memory: {results['peak memory, MB'][0]:.0f} MB")
    for name, tables in (("empty database", 0), ("2,000 tables", 2000)):
        other = make_database(bench, "bench_small", tables)
        results[f"whole set, {name}"] = [own_set(other, jobs=None, hashes="always") for _ in range(rounds)]
        log(f"whole set, {name}: {statistics.median(results[f'whole set, {name}']):.2f} s")
    return results


def _verification(bench: Bench, rounds: int, log: Callable[[str], None]) -> dict[str, list[float]]:
    database, settings = bench.settings(jobs=None, hashes="always")
    now = datetime.now(UTC)
    request = CaptureRequest(slot=f"{now:%Y-%m-%d}", run_id=str(uuid.uuid4()))
    captured = Capture(database, settings, request, progress=no_progress, log=no_log).run()
    dump = captured.manifest.artifact("dump")
    assert dump is not None
    archive = local_store(settings).path_of(place_of(database, settings).key(dump.name))
    results: dict[str, list[float]] = {"pg_restore -j2": [], "verification": [], "verification with content": []}
    for number in range(rounds):
        results["pg_restore -j2"].append(bare_restore(bench, archive))
        results["verification"].append(own_verification(bench, settings, content=False))
        results["verification with content"].append(own_verification(bench, settings, content=True))
        log(f"round {number + 1}: " + ", ".join(f"{k} {v[-1]:.2f} s" for k, v in results.items()))
    _remove(settings.backup_dir)
    return results


def machine() -> str:
    """Return what the figures were taken on."""
    return f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end"
