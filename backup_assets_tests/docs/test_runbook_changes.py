"""What the runbook does on quiet days: the daily look, releases, drills, keys, and changes of all kinds."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from backup_assets.local import local_store
from backup_assets.restore.verification import verify_set
from backup_assets.settings import Settings
from backup_assets_tests.ciphers.keys import AgeKeys, Keyrings, gpg
from backup_assets_tests.docs.runbook import Site, recipients
from backup_assets_tests.restore.restoring import can_log_in
from backup_assets_tests.sets.examples import proof_of
from backup_assets_tests.sources import catalog_of, connect, make_database, no_log
from backup_assets_tests.stores.object_server import REGION, object_server
from backup_assets_tests.stores.ssh_server import SshServer, ssh_server
from backup_assets_tests.watch.listening import a_webhook


@pytest.fixture(scope="module")
def another_host() -> Iterator[SshServer]:
    with ssh_server() as server:
        yield server


def test_a_release_is_held_shown_in_the_morning_drilled_and_let_go(a_site: Site) -> None:
    last = a_site.types("release").splitlines()[-1]
    good = a_site.newest()
    assert last.startswith("Release backup of erp4 for 4.2: ")
    assert good.id in last
    assert good.hold_at(datetime.now(UTC)) is not None

    assert "PASSED" in a_site.types("drill") + a_site.types("drill-report").splitlines()[0]
    morning = a_site.types("daily")
    assert f"{good.id}\t" in morning
    assert "\tcomplete\t" in morning
    assert "OK: erp4: " in morning

    a_site.types("release-over", GOOD=good.id)
    assert a_site.newest().hold_at(datetime.now(UTC)) is None


def test_once_a_week_every_part_and_every_channel_is_tried(a_site: Site) -> None:
    a_site.taken("usb")
    with a_webhook() as hook:
        a_site.tree["watch"] = {"channels": [{"env": "HOOK"}]}
        a_site.environment["HOOK"] = f"json://{hook.address}"
        a_site.write()
        assert "json\tok" in a_site.types("weekly")
        assert len(hook.posted) == 1


def test_every_key_and_password_is_changed_and_the_next_backup_is_proven(
    a_site: Site, keyrings: Keyrings, another_host: SshServer
) -> None:
    secret = a_site.directory / "erp4-password"
    with connect(a_site.cluster, "postgres") as connection:
        connection.execute("CREATE ROLE backup LOGIN SUPERUSER PASSWORD 'old'")
    secret.write_text("old")
    a_site.erp4["server"] |= {"user": "backup", "password": {"file": str(secret)}}
    keyfile = a_site.directory / "erp4_backup"
    for suffix in ("", ".pub"):
        shutil.copy(another_host.directory / f"key{suffix}", f"{keyfile}{suffix}")
    authorized = another_host.directory / "authorized_keys"
    location = another_host.location(a_site.directory / "there")
    a_site.tree["stores"]["remote"] = {
        "kind": "ssh",
        "host": location.host,
        "port": location.port,
        "user": location.user,
        "remote_dir": location.remote_dir,
        "ssh_key": str(keyfile),
        "known_hosts": str(location.known_hosts),
        "off_site": True,
    }
    recipients(a_site, keyrings, keyrings.lena)
    with object_server() as server:
        credentials = a_site.directory / "credentials"
        store = {"kind": "s3", "bucket": server.bucket(), "region": REGION, "endpoint_url": server.url}
        store |= {"addressing_style": "path", "sse_s3": "AES256", "off_site": True, "profile": "backup-writer"}
        a_site.tree["stores"]["tokyo"] = store
        a_site.environment["AWS_SHARED_CREDENTIALS_FILE"] = str(credentials)
        a_site.write()
        old_key = authorized.read_text()

        a_site.types("password", SECRET=str(secret))
        assert not can_log_in(a_site.cluster, "backup", "old")
        assert can_log_in(a_site.cluster, "backup", secret.read_text())
        assert secret.stat().st_mode & 0o777 == 0o600
        keys = server.credentials("admin")
        credentials.write_text(
            f"[backup-writer]\naws_access_key_id = {keys.access_key_id}\n"
            f"aws_secret_access_key = {keys.secret_access_key}\n"
        )
        public = a_site.directory / "new.pub.asc"
        public.write_bytes(gpg(keyrings.host, "--armor", "--export", keyrings.rob))
        a_site.types("recipient", PUBLIC=str(public))
        recipients(a_site, keyrings, keyrings.rob, keyrings.lena)
        ssh = {
            "KEYFILE": str(keyfile),
            "REMOTE": f"{location.user}@{location.host}",
            "AUTHORIZED": str(authorized),
            "SSH": f"ssh -p {location.port} -o IdentitiesOnly=yes -o UserKnownHostsFile={location.known_hosts}",
        }
        try:
            a_site.types("ssh-new", **ssh)
            a_site.types("ssh-swap", **ssh)
            assert old_key.split()[2] not in authorized.read_text()
            a_site.types("rotated")
        finally:
            authorized.write_text(old_key)

    newest = a_site.newest()
    assert proof_of(newest) is not None
    assert set(newest.copies) == {"usb", "remote", "tokyo"}
    told = a_site.types("recipient-look")
    assert told.index(keyrings.rob) < told.index(keyrings.lena)


def test_a_recipient_of_age_is_changed_in_the_settings_alone(a_site: Site, age_keys: AgeKeys) -> None:
    a_site.has("age")
    a_site.tree["encryption"] = {"cipher": "age", "recipients": [age_keys.lena]}
    a_site.write()
    a_site.taken("usb")
    a_site.tree["encryption"]["recipients"] = [age_keys.rob, age_keys.lena]
    a_site.write()
    a_site.taken("usb")

    told = a_site.types("recipient-look")
    assert age_keys.rob in told


def test_a_second_database_is_added_and_backed_up(a_site: Site) -> None:
    a_site.taken("usb")
    make_database(a_site.cluster, "shop", "CREATE TABLE orders AS SELECT n FROM generate_series(1, 7) n")
    a_site.tree["databases"]["shop"] = {"server": a_site.erp4["server"]}
    a_site.write()

    told = a_site.types("add")

    assert {line.split("\t")[6] for line in told.splitlines() if "\tcomplete\t" in line} == {"7", "170"}


def test_what_a_full_disk_holds_for_nothing_is_seen_and_removed(a_site: Site) -> None:
    del a_site.erp4["attachments"]
    a_site.write()
    old, new = a_site.taken(), a_site.taken()
    left = a_site.sets / "erp4" / "production" / "db" / f"{old}.dump.0123abcd.partial"
    left.write_bytes(b"never finished")
    os.utime(left, (0, 0))
    a_site.erp4["retention"] = {"daily": 1, "weekly": 0, "monthly": 0, "all_for_days": 0}
    a_site.write()

    assert left.name in a_site.types("full-look")
    assert f"{old}\tlocal\tkeep" in a_site.types("retention-plan")
    assert a_site.settings().backup_dir.is_dir()
    proven(a_site.settings(), new)

    assert f"{old}\tlocal\tdelete" in a_site.types("retention-plan")
    a_site.types("retention-apply")
    a_site.types("full-free")

    assert not left.exists()
    assert [path.name.split(".")[0] for path in left.parent.iterdir()] == [new]


def proven(settings: Settings, set_id: str) -> None:
    """Prove a set by a restore."""
    chosen = catalog_of(settings).resolve(set_id)
    verify_set(settings.databases[0], settings, local_store(settings), chosen, content=True, log=no_log)


def test_backups_move_to_a_new_host_with_all_their_sets(a_site: Site) -> None:
    a_site.taken("usb")
    old = a_site.taken("usb")
    new = a_site.directory / "new-host"
    new.mkdir()
    a_site.types("move-copy", NEW=str(new / "sets"))
    a_site.sets.rename(a_site.directory / "old-host")
    a_site.tree["backup_dir"] = str(new / "sets")
    a_site.write()

    told = a_site.types("move-after")

    assert old in told
    labels = [json.loads(path.read_text())["label"] for path in (new / "sets").rglob("meta/*.manifest.json")]
    assert sorted(label or "" for label in labels) == ["", "", "on the new host"]
