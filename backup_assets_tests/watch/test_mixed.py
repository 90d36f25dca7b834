from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from backup_assets.sets.servers import ServerIdentity
from backup_assets.settings import Settings
from backup_assets.settings_watch import ObjectivesSettings
from backup_assets_tests.watch.stores_at_work import DAY, HOUR, NOW, a_folder, measured, settings_of, taken

OURS, COPY = ServerIdentity("7000", 1), ServerIdentity("8000", 1)
MINUTE = timedelta(minutes=1)


def servers_told(settings: Settings, now: datetime = NOW) -> dict[str, tuple[str, ...]]:
    return {store.name: store.servers for store in measured(settings, now).stores}


@pytest.fixture
def a_bucket(tmp_path: Path) -> Settings:
    """A folder off-site with four nights of one server, whose own sets are in the local store as well."""
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"))
    for night in range(1, 5):
        taken(settings, NOW - night * DAY, stores=("local", "usb"), server=OURS)
    return settings


def test_two_servers_in_one_store_are_told_with_a_set_of_each(a_bucket: Settings) -> None:
    taken(a_bucket, NOW - 2 * DAY + MINUTE, stores=("usb",), server=COPY)
    of_copy = taken(a_bucket, NOW - DAY + MINUTE, stores=("usb",), server=COPY)
    told = servers_told(a_bucket)

    assert told["local"] == ()
    assert [text.rpartition(" server ")[2] for text in told["usb"]] == ["8000, timeline 1", "7000, timeline 1"]
    assert of_copy.id in told["usb"][0]


def test_a_copy_of_the_server_that_was_promoted_is_another_one(a_bucket: Settings) -> None:
    taken(a_bucket, NOW - 1.5 * DAY, stores=("usb",), server=OURS._replace(timeline=2))

    assert len(servers_told(a_bucket)["usb"]) == 2


def test_a_set_that_tells_no_server_does_not_stand_for_one(a_bucket: Settings) -> None:
    of_copy = taken(a_bucket, NOW - DAY + MINUTE, stores=("usb",), server=COPY).id
    of_ours = taken(a_bucket, NOW - DAY + 2 * MINUTE, stores=("usb",), server=OURS).id
    unknown = taken(a_bucket, NOW - HOUR, stores=("usb",)).id
    told = servers_told(a_bucket)["usb"]

    assert [any(one in text for text in told) for one in (of_copy, of_ours, unknown)] == [True, True, False]
    assert not [text for text in told if "None" in text]


def test_a_server_that_replaced_another_is_not_told(a_bucket: Settings) -> None:
    taken(a_bucket, NOW - HOUR, stores=("local", "usb"), server=COPY)

    assert servers_told(a_bucket) == {"local": (), "usb": ()}


def test_what_stopped_is_told_no_longer_after_two_days_or_two_rpos(a_bucket: Settings) -> None:
    taken(a_bucket, NOW - 1.5 * DAY, stores=("usb",), server=COPY)
    later = NOW + DAY
    taken(a_bucket, later - HOUR, stores=("usb",), server=OURS)
    objectives = ObjectivesSettings(rpo_hours=100)
    weekly = a_bucket.model_copy(
        update={"databases": (a_bucket.databases[0].model_copy(update={"objectives": objectives}),)}
    )

    assert len(servers_told(a_bucket, NOW)["usb"]) == 2
    assert servers_told(a_bucket, later)["usb"] == ()
    assert len(servers_told(weekly, later)["usb"]) == 2


def test_sets_that_tell_no_server_and_those_of_the_future_accuse_nobody(a_bucket: Settings) -> None:
    taken(a_bucket, NOW - 2.5 * DAY, stores=("usb",))
    taken(a_bucket, NOW - HOUR, stores=("usb",))
    taken(a_bucket, NOW + DAY, stores=("usb",), server=COPY)

    assert servers_told(a_bucket) == {"local": (), "usb": ()}
