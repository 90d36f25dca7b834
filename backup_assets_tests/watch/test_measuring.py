from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from backup_assets.settings_watch import ObjectivesSettings
from backup_assets_tests.sets.examples import ERP4, a_manifest, dump_of
from backup_assets_tests.watch.stores_at_work import (
    DAY,
    HOUR,
    NOW,
    a_folder,
    drilled,
    measured,
    proven,
    settings_of,
    taken,
)


def test_a_database_in_good_order_keeps_every_promise(tmp_path: Path):
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"))
    for days in (2, 1, 0):
        newest = taken(settings, NOW.replace(hour=2, minute=1) - days * DAY, stores=("local", "usb"))
        proven(settings, newest, at=NOW - 9 * HOUR - days * DAY)
    drilled(settings, taken(settings, NOW - 2 * DAY, stores=("local", "usb")), at=NOW - DAY)
    figures = measured(settings)
    assert {one.name: one.state for one in figures.objectives} == dict.fromkeys(
        (
            "rpo", "off_site", "verified", "drill", "rto",
            "three_copies", "two_media", "one_off_site", "store_space", "slots",
        ),
        "met",
    )  # fmt: skip
    assert figures.broken == ()
    assert figures.missed_slots == ()
    assert figures.drill is not None
    assert (figures.drill.store, figures.drill.passed, figures.drill.within_rto) == ("usb", True, True)
    local, usb = figures.stores
    assert (local.kind, local.sets, usb.kind, usb.sets, usb.off_site) == ("local", 4, "folder", 4, True)
    assert local.proven is not None
    assert local.proven.verified_at == NOW - 9 * HOUR


def test_nothing_of_dagster_is_asked_or_even_loaded(tmp_path: Path):
    settings = settings_of(tmp_path)
    taken(settings, NOW - HOUR)
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from backup_assets_tests.watch.stores_at_work import measured, settings_of\n"
        f"figures = measured(settings_of(Path({str(tmp_path)!r})))\n"
        "print(figures.objective('rpo').state, 'dagster' in sys.modules)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert ended.stdout == "met False\n"


def test_an_empty_database_breaks_its_promises_and_raises_nothing(tmp_path: Path):
    figures = measured(settings_of(tmp_path, a_folder(tmp_path, "usb")))
    assert {one.name for one in figures.broken} == {
        "rpo", "off_site", "verified", "three_copies", "two_media", "one_off_site",
    }  # fmt: skip
    assert figures.stores[0].late == "there is no complete set in local"


def test_a_store_is_late_when_its_newest_set_is_older_than_promised(tmp_path: Path):
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"), objectives=ObjectivesSettings(rpo_hours=6))
    taken(settings, NOW - 8 * HOUR, stores=("usb",))
    taken(settings, NOW - HOUR)
    local, usb = measured(settings).stores
    assert local.late == ""
    assert usb.late == "the newest complete set in usb was taken 8 h ago; 6 h promised"


@pytest.mark.slow
def test_measuring_takes_time_in_proportion_to_the_sets(tmp_path: Path):
    stores = {}
    for count in (250, 1000):
        settings = settings_of(tmp_path / str(count))
        root = settings.backup_dir
        for folder in ("meta", "db", "assets"):
            (root / ERP4.key(folder)).mkdir(parents=True)
        for number in range(count):
            manifest = a_manifest(NOW - timedelta(hours=number), run=f"{number:08x}")
            for artifact in manifest.artifacts:
                content = dump_of(manifest.id) if artifact.role == "dump" else b"attachments"
                (root / ERP4.key(artifact.name)).write_bytes(content)
            (root / ERP4.manifest_key(manifest.id)).write_bytes(manifest.to_json())
        stores[count] = settings
    # The quickest of several rounds, one size after the other: what else the machine does, and a walk of the garbage
    # collector through all that other tests left behind, falls into some rounds only.
    seconds: dict[int, list[float]] = {count: [] for count in stores}
    for number in range(5):
        for count, settings in stores.items():
            # What is listed as before is not read again: each round finds one file with another time.
            os.utime(
                settings.backup_dir / ERP4.key(a_manifest(NOW, run=f"{0:08x}").artifacts[0].name), (number, number)
            )
            gc.collect()
            begun = time.process_time()
            figures = measured(settings)
            seconds[count].append(time.process_time() - begun)
            assert figures.stores[0].sets == count
    # Four times the sets took four and a half times as long; quadratic would be sixteen times.
    assert min(seconds[1000]) < 9 * min(seconds[250])
