"""Runs one capture, verification or restore, and kills itself at a chosen point.

``python -m backup_assets_tests.faults.dying`` reads a :class:`Task` as JSON from its standard input. The points are
what the interpreter tells of (a program that is started, a file that gets its name) and the lines that are logged.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr

from backup_assets.capture.capture import Capture
from backup_assets.capture.request import CaptureRequest
from backup_assets.local import local_store, place_of
from backup_assets.restore.restore import Restore, RestoreRequest
from backup_assets.restore.verification import verify_set
from backup_assets.sets.catalog import Catalog
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_capture import AttachmentsSettings
from backup_assets.settings_server import ServerSettings
from backup_assets_tests.sources import no_progress


@dataclass(frozen=True)
class Task:
    """What to do, and the text of the event or line (the how-manieth of them) at which to die."""

    action: str
    point: str
    nth: int
    host: str
    port: int
    user: str
    password: str
    database: str
    backup_dir: str
    attachments: str
    set_id: str = "latest"

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    def settings(self) -> Settings:
        server = ServerSettings(host=self.host, port=self.port, user=self.user, password=SecretStr(self.password))
        database = DatabaseSettings(
            name="erp4",
            database=self.database,
            server=server,
            attachments=AttachmentsSettings(directory=Path(self.attachments)),
        )
        return Settings(backup_dir=Path(self.backup_dir), databases=(database,))


class Death:
    """Kills this process at its point."""

    def __init__(self, point: str, nth: int) -> None:
        self._parts = point.split(" ")
        self._left = nth

    def seen(self, text: str) -> None:
        if all(part in text for part in self._parts):
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if event in ("subprocess.Popen", "os.link", "os.rename"):
            self.seen(f"{event} {arguments[:2]}")


def main() -> None:
    task = Task(**json.loads(sys.stdin.buffer.read()))
    settings = task.settings()
    database = settings.databases[0]
    store = local_store(settings)
    death = Death(task.point, task.nth)
    sys.addaudithook(death.audit)
    if task.action == "capture":
        request = CaptureRequest(slot=f"{datetime.now(UTC):%Y-%m-%d}", run_id=str(uuid.uuid4()))
        Capture(database, settings, request, progress=no_progress, log=death.seen).run()
        return
    chosen = Catalog(store, place_of(database, settings)).resolve(task.set_id)
    if task.action == "verify":
        verify_set(database, settings, store, chosen, log=death.seen)
    else:
        Restore(database, settings, store, chosen, RestoreRequest(confirmed=True), log=death.seen).run()


if __name__ == "__main__":
    main()
