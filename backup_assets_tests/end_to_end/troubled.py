"""An installation in trouble, with secrets in its environment: nobody has backed `erp4` up for days."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import yaml
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.definitions.sensor_definition import SensorType
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, SensorInstigatorData
from dagster._core.test_utils import freeze_time

from backup_assets.capture.automation import backup_assets_of, slots_of
from backup_assets.instance import PACKAGED_CONFIG
from backup_assets.local import local_store, place_of
from backup_assets.postgres.cluster import Cluster
from backup_assets.settings import Settings
from backup_assets.settings_loading import load_settings
from backup_assets.slots import Slots
from backup_assets_tests.end_to_end.dagster_ui import DagsterUi, running_ui
from backup_assets_tests.midday import TODAY, ZONE
from backup_assets_tests.sets.examples import a_manifest, put_set

#: Days ago of the sets that there are; the slot of yesterday was missed.
DAYS = (4, 3, 2)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Troubled:
    """The installation and what its environment holds that nobody may read."""

    directory: Path
    environment: dict[str, str]
    secrets: dict[str, str]

    @property
    def home(self) -> Path:
        return self.directory / "var" / "dagster"

    @property
    def settings(self) -> Settings:
        return load_settings(self.environment, self.directory)

    @property
    def slots(self) -> Slots:
        return slots_of(self.settings.database("erp4"), self.settings, datetime.now(UTC))

    def slot(self, days_ago: int) -> str:
        return self.slots.current_key(datetime.now(UTC) - days_ago * DAY)

    @contextmanager
    def running(self) -> Iterator[DagsterUi]:
        # What is red is looked at every second, and not every half minute.
        quick = {"FRESHNESS_DAEMON_INTERVAL_SECONDS": "1"}
        with running_ui(self.directory, {**self.environment, **quick, "DAGSTER_HOME": ""}) as ui:
            yield ui


def a_troubled_installation(directory: Path, cluster: Cluster, database: str) -> Troubled:
    """Return an installation whose newest set of `erp4` is two days old, beside `crm`, whose server answers."""
    now = datetime.now(UTC)
    secrets = {
        "ERP4_PASSWORD": cluster.password,
        "ALERT_TOKEN": "xoxb-alert-channel-token",
        "HEARTBEAT_TOKEN": "heartbeat-ping-key",
        "AWS_ACCESS_KEY_ID": "AKIAQQQQQQQQQQQQQQQQ",
        "AWS_SECRET_ACCESS_KEY": "s3-secret-access-key-0123456789abcdefghi",
        "passphrase": "gpg-passphrase-correct-horse",
    }
    environment = {
        "ERP4_PASSWORD": secrets["ERP4_PASSWORD"],
        "AWS_ACCESS_KEY_ID": secrets["AWS_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": secrets["AWS_SECRET_ACCESS_KEY"],
        "OUR_CHANNEL": f"json://{secrets['ALERT_TOKEN']}@127.0.0.1:9/{secrets['ALERT_TOKEN']}",
        "OUR_HEARTBEAT": f"http://127.0.0.1:9/{secrets['HEARTBEAT_TOKEN']}",
    }
    passphrase = directory / "passphrase"
    passphrase.write_text(secrets["passphrase"])
    passphrase.chmod(0o600)
    (directory / "usb").mkdir()
    server = {
        "host": str(cluster.socket_directory),
        "port": cluster.port,
        "user": cluster.superuser,
        "password": {"env": "ERP4_PASSWORD"},
    }
    # Due at the other end of the day, which is far from its end: no schedule takes a backup while a test looks.
    schedule = {"at": "23:00", "timezone": ZONE, "since": f"{TODAY - max(DAYS) * DAY}"}
    tree = {
        "env": "prod",
        "backup_dir": "sets",
        "stores": {
            "usb": {"kind": "folder", "directory": "usb", "off_site": True},
            "tokyo": {"kind": "s3", "bucket": "erp4", "endpoint_url": "http://127.0.0.1:9", "sse_s3": "AES256"},
        },
        "encryption": {"gpg_passphrase_file": "passphrase"},
        "watch": {"channels": [{"env": "OUR_CHANNEL"}], "heartbeat": {"env": "OUR_HEARTBEAT"}},
        "databases": {name: {"database": database, "server": server, "schedule": schedule} for name in ("erp4", "crm")},
    }
    (directory / "backup.yaml").write_text(yaml.safe_dump(tree))
    troubled = Troubled(directory, environment, secrets)
    _back_up_days_ago(troubled, now)
    return troubled


def _back_up_days_ago(troubled: Troubled, now: datetime) -> None:
    """Leave sets of the days when all was well, and what Dagster remembers of them."""
    erp4 = troubled.settings.database("erp4")
    troubled.home.mkdir(parents=True)
    (troubled.home / "dagster.yaml").write_bytes(PACKAGED_CONFIG.read_bytes())
    with dg.DagsterInstance.from_config(str(troubled.home)) as instance:
        for number, days in enumerate(DAYS):
            at = now.astimezone(ZoneInfo(ZONE)) - days * DAY
            manifest = a_manifest(at, run=f"{number:08x}")
            put_set(local_store(troubled.settings), manifest, place=place_of(erp4, troubled.settings))
            with freeze_time(at):
                for key in backup_assets_of(erp4):
                    instance.report_runless_asset_event(
                        dg.AssetMaterialization(dg.AssetKey(key), partition=manifest.slot)
                    )
        # The sensor looked for the last time before the slot of yesterday began.
        origin = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("backup_assets"), "__repository__")
        seen = SensorInstigatorData(
            cursor=troubled.slots.window(troubled.slot(1))[0].isoformat(), sensor_type=SensorType.STANDARD
        )
        instance.add_instigator_state(
            InstigatorState(
                origin.get_instigator_origin("erp4_missed_slots_sensor"),
                InstigatorType.SENSOR,
                InstigatorStatus.DECLARED_IN_CODE,
                seen,
            )
        )
