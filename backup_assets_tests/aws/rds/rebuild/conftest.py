"""A database on RDS that missed yesterday's slot, and the server that RDS restores as of then."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from backup_assets.aws.rds.rebuild.rebuild import RdsRebuilt, advance_rebuild
from backup_assets.aws.rds.server_names import server_name
from backup_assets.aws.rds.work import Waiting
from backup_assets.capture.automation import slots_of
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_aws import RdsRebuildSettings
from backup_assets.slots import Slots
from backup_assets_tests.aws.rds.drilling import ENV, Drill
from backup_assets_tests.sources import no_log, no_progress


@dataclass(frozen=True)
class Rebuild:
    """What is rebuilt: ``slot``, which is over and has no set."""

    drill: Drill
    rebuild: RdsRebuildSettings
    slot: str
    changes: Any = ()

    @property
    def database(self) -> DatabaseSettings:
        """The settings of the database."""
        drilled = self.drill.database
        rds = self.drill.rds.model_copy(update={"drill": self.drill.drill, "rebuild": self.rebuild})
        return drilled.model_copy(update={"rds": rds, **dict(self.changes)})

    @property
    def settings(self) -> Settings:
        """All settings, with this database alone."""
        return self.drill.settings.model_copy(update={"databases": (self.database,)})

    @property
    def slots(self) -> Slots:
        """The slots of the database."""
        return slots_of(self.database, self.settings, datetime.now(UTC))

    @property
    def due(self) -> datetime:
        """When the slot was due."""
        return self.slots.due_at(self.slot)

    @property
    def name(self) -> str:
        """The name of the server that is restored."""
        return server_name("rebuild", "erp4", ENV, self.slot)

    def rebuilding(self, **changes: Any) -> Rebuild:
        """Return the same with other settings of the rebuild."""
        return replace(self, rebuild=self.rebuild.model_copy(update=changes))

    def configured(self, **changes: Any) -> Rebuild:
        """Return the same with other settings of the database."""
        return replace(self, changes={**dict(self.changes), **changes})

    def advance(self, slot: str | None = None, **request: Any) -> RdsRebuilt | Waiting | None:
        """Go on with the rebuild."""
        given: dict[str, Any] = {"run_id": str(uuid.uuid4()), "progress": no_progress, "log": no_log, **request}
        return advance_rebuild(self.database, self.settings, self.slots, slot or self.slot, **given)

    def begun(self) -> Rebuild:
        """Begin it, until the server can be connected to."""
        assert isinstance(self.advance(), Waiting)
        return self

    def rebuilt(self, **request: Any) -> RdsRebuilt:
        """Begin and end it."""
        done = self.begun().advance(**request)
        assert isinstance(done, RdsRebuilt)
        return done


@pytest.fixture
def a_rebuild(a_drill: Drill) -> Rebuild:
    """Return a database that has been written to since its missed slot, and a restored one that shows that slot."""
    there = a_drill.drill
    yesterday = datetime.now(ZoneInfo("Asia/Tokyo")) - timedelta(days=1)
    wanted = RdsRebuildSettings(security_groups=there.security_groups, host=there.host, port=there.port)
    made = Rebuild(a_drill, wanted, f"{yesterday:%Y-%m-%d}")
    since = datetime.now(UTC) - made.due
    earlier = f"created_at - interval '{since.total_seconds():.0f} s'"
    a_drill.restored.execute(f"UPDATE invoices SET created_at = {earlier}")
    # The live database has what was there then, and half a day's invoices more.
    a_drill.source.execute(f"INSERT INTO invoices SELECT id - 1000, total, {earlier} FROM invoices")
    return made
