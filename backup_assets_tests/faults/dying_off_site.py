"""Encrypts or copies the sets of one slot, and kills itself at a chosen point.

``python -m backup_assets_tests.faults.dying_off_site`` reads a :class:`Task` as JSON from its standard input.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass

from backup_assets.named_stores import configured_store, store_named
from backup_assets.offsite.copies import copy_slot, sets_of_slot
from backup_assets.offsite.encrypted import encrypt_sets
from backup_assets.settings import Settings
from backup_assets_tests.faults.dying import Death


@dataclass(frozen=True)
class Task:
    """What to do with the sets of ``slot``: ``encrypt`` them, or copy them to the store of that name.

    ``settings`` is JSON. ``point`` and ``nth`` say at which event to die, as :class:`Death` takes them; without a
    point another process does it.
    """

    action: str
    settings: str
    slot: str
    point: str = ""
    nth: int = 1

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()


def perform(task: Task, settings: Settings) -> None:
    database = settings.databases[0]
    if task.action == "encrypt":
        done = encrypt_sets(database, settings, sets_of_slot(database, settings, task.slot), log=print)
        errors = [one.error for one in done]
    elif (configured := configured_store(settings, task.action)).copied_from:
        from backup_assets.offsite.cross_copies import cross_copy_slot

        errors = [one.error for one in cross_copy_slot(database, settings, configured, task.slot, log=print)]
    else:
        target = store_named(settings, task.action, writing=True)
        errors = [one.error for one in copy_slot(database, settings, target, task.slot, log=print)]
    for error in errors:
        if error is not None:
            raise error


def main() -> None:
    task = Task(**json.loads(sys.stdin.buffer.read()))
    if task.point:
        sys.addaudithook(Death(task.point, task.nth).audit)
    perform(task, Settings.model_validate_json(task.settings))


if __name__ == "__main__":
    main()
