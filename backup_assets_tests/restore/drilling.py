"""A database with attachments whose sets lie in a further store, an application to try on it, and how it is drilled."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backup_assets.local import place_of
from backup_assets.named_stores import catalog_in, store_named
from backup_assets.offsite.copies import copy_sets
from backup_assets.restore.drill import run_drill
from backup_assets.restore.drill_report import Drilled
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.manifest import Manifest
from backup_assets.settings import Settings
from backup_assets.settings_restore import DrillSettings, HttpCheck
from backup_assets.settings_stores import StoreSettings
from backup_assets.settings_watch import ObjectivesSettings
from backup_assets_tests.ports import free_port
from backup_assets_tests.restore.restoring import Erp
from backup_assets_tests.sources import no_log

#: Answers /health with what the restored database holds, /attachments with how many files are there, /away with a
#: redirect to another host, /broken with an error at once. ``argv``: its port.
APPLICATION = """
import os, subprocess, sys, http.server, pathlib, psycopg

with open(os.environ["BACKUP_DRILL_ATTACHMENTS"] + "/../pids", "w") as pids:
    helper = subprocess.Popen(["sleep", "600"])
    pids.write(f"{os.getpid()} {helper.pid}")

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "http://localhost:1/health")
            self.end_headers()
            return
        if self.path == "/attachments":
            files = [p for p in pathlib.Path(os.environ["BACKUP_DRILL_ATTACHMENTS"]).rglob("*") if p.is_file()]
            body = f"{len(files)} files"
        elif self.path == "/broken":
            body = "broken"
        else:
            with psycopg.connect() as connection:
                body = "%d invoices in %s" % connection.execute(
                    "SELECT count(*), current_database() FROM invoices").fetchone()
        self.send_response(200 if self.path != "/broken" else 500)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *arguments):
        pass

http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def application(directory: Path, *checks: tuple[str, str | None], **fields: Any) -> DrillSettings:
    """Return a drill with the application above; ``checks`` are paths and the text that must be in the answer."""
    program = directory / "application.py"
    program.write_text(APPLICATION)
    port = free_port()
    return DrillSettings(
        start_command=(sys.executable, str(program), str(port)),
        http_checks=tuple(
            HttpCheck(url=f"http://127.0.0.1:{port}{path}", contains=text, timeout_seconds=120) for path, text in checks
        ),
        **fields,
    )


def with_drill(settings: Settings, drill: DrillSettings, *, rto_hours: float | None = None) -> Settings:
    objectives = ObjectivesSettings(rto_hours=rto_hours)
    database = settings.databases[0].model_copy(update={"drill": drill, "objectives": objectives})
    return settings.model_copy(update={"databases": (database,)})


def with_stores(erp: Erp, *stores: StoreSettings) -> Settings:
    return erp.settings.model_copy(update={"stores": stores})


def copied_to(settings: Settings, name: str) -> list[BackupSet]:
    """Copy every local set to a store and return what it holds then."""
    (database,) = settings.databases
    wanted = catalog_in(store_named(settings, "local"), place_of(database, settings)).sets()
    done = copy_sets(database, settings, store_named(settings, name, writing=True), wanted, log=no_log)
    assert [one.error for one in done if one.error] == []
    return sets_in(settings, name)


def sets_in(settings: Settings, name: str) -> list[BackupSet]:
    return catalog_in(store_named(settings, name), place_of(settings.databases[0], settings)).sets()


def drilled(settings: Settings, **options: Any) -> Drilled:
    return run_drill(settings.databases[0], settings, **{"log": no_log, **options})


def report(done: Drilled) -> str:
    assert done.report_path is not None
    return done.report_path.read_text()


def file_of(directory: Path, manifest: Manifest, role: str) -> Path:
    """Return where an artifact lies in a folder store."""
    artifact = manifest.artifact(role)
    assert artifact is not None
    (path,) = directory.rglob(artifact.name.rpartition("/")[2])
    return path


def kinds(one: BackupSet) -> Sequence[str]:
    return sorted(record.kind for record in one.records)
