"""The situations of the runbook in which something is restored, each typed block by block."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup_assets.postgres.cluster import Cluster
from backup_assets.postgres.throw_away import throw_away_cluster
from backup_assets_tests.aws.conftest import PretendedAws, aws, moto_address
from backup_assets_tests.ciphers.keys import Keyrings, gpg, program
from backup_assets_tests.docs.runbook import Site, private_key, recipients
from backup_assets_tests.end_to_end.stock_tools import content_of
from backup_assets_tests.restore.restoring import databases_of, files_of
from backup_assets_tests.sets.examples import proof_of
from backup_assets_tests.sources import Source, connect, drop_database
from backup_assets_tests.stores.object_server import REGION, ObjectServer, object_server

__all__ = ["aws", "moto_address"]


@pytest.fixture(scope="module")
def regions() -> Iterator[ObjectServer]:
    with object_server() as server:
        yield server


@pytest.fixture
def two_regions(a_site: Site, regions: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The site with the buckets `tokyo` and, copied from it, `osaka`."""
    keys = regions.credentials("admin")
    common = {
        "kind": "s3",
        "region": REGION,
        "endpoint_url": regions.url,
        "addressing_style": "path",
        "sse_s3": "AES256",
        "off_site": True,
    }
    a_site.tree["stores"]["tokyo"] = {**common, "bucket": regions.bucket()}
    a_site.tree["stores"]["osaka"] = {**common, "bucket": regions.bucket(), "copied_from": "tokyo"}
    for name, value in (
        ("AWS_ACCESS_KEY_ID", keys.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", keys.secret_access_key),
    ):
        a_site.environment[name] = value
        monkeypatch.setenv(name, value)
    a_site.write()
    return a_site


@pytest.fixture
def a_new_server(a_cluster: Cluster) -> Iterator[Cluster]:
    with throw_away_cluster(None, a_cluster.binaries) as cluster:
        yield cluster


def test_a_good_set_is_found_and_held(two_regions: Site) -> None:
    good = two_regions.taken("tokyo")

    assert two_regions.types("look").count(good) == 2
    two_regions.types("hold", GOOD=good)

    now = datetime.now(UTC)
    assert [two_regions.newest(store).hold_at(now) is not None for store in ("local", "tokyo")] == [True, True]


def test_a_table_that_was_dropped_with_all_that_hung_on_it_comes_back(a_site: Site) -> None:
    good, before = a_site.taken(), content_of(a_site.live)
    a_site.live.execute("DROP TABLE invoices CASCADE")

    a_site.types("table-copy", GOOD=good)
    missing = a_site.types("table-missing")
    assert "CREATE TABLE public.invoices" in missing
    assert "CREATE VIEW public.open_invoices" in missing
    a_site.types("table-back")
    assert "payments_invoice_fkey" in a_site.types("table-missing")
    a_site.types("table-keys")
    a_site.types("table-view")

    assert a_site.types("table-missing") == "every definition is there\n"
    assert a_site.types("table-count").split() == ["100", "100"]
    assert content_of(a_site.live) == before
    assert a_site.live.value("INSERT INTO invoices (customer) VALUES (1) RETURNING id") == 101
    a_site.types("copy-end")
    assert "erp4_copy" not in databases_of(a_site.cluster)


def test_rows_come_back_and_what_was_changed_rightly_stays(a_site: Site) -> None:
    a_site.taken()
    when = a_site.live.value("SELECT clock_timestamp()::text")
    a_site.live.execute(
        "DELETE FROM invoices WHERE id > 90",
        "UPDATE invoices SET total = 0 WHERE id BETWEEN 20 AND 29",
        "UPDATE invoices SET total = 7000 WHERE id = 5",
        "UPDATE invoices SET total = NULL WHERE id = 30",
    )
    a_site.taken()  # the next backup, of the damaged rows

    a_site.types("rows-copy", WHEN=str(when).replace(" ", "T"))
    a_site.types("rows-beside")
    look = a_site.types("rows-look")
    assert [line.strip() for line in look.splitlines()[2:3] + look.splitlines()[7:8]] == ["10", "12"]
    assert "INSERT 0 10" in a_site.types("rows-gone-back")
    assert "UPDATE 10" in a_site.types("rows-changed-back")

    assert "5 |   7.50 | 7000.00" in a_site.types("rows-look")
    assert a_site.live.value("SELECT count(*) FROM invoices WHERE id NOT IN (5, 30) AND total = id * 1.5") == 98
    a_site.types("rows-end")
    assert a_site.live.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'repair'") == 0


def kept_of(printed: str) -> dict[str, str]:
    """Return the variables that an operator copies from the last lines of a restore."""
    kept = dict(line.split("\t")[1].split(" ", 1) for line in printed.splitlines() if line.startswith("kept\t"))
    return {"KEPT": kept["database"], "KEPTFILES": kept["attachments"]}


def test_a_lost_database_comes_back_and_the_old_one_too(a_site: Site) -> None:
    good, before, files = a_site.taken(), content_of(a_site.live), files_of(a_site.attachments)
    a_site.live.execute("DELETE FROM payments", "DELETE FROM invoices")
    (a_site.attachments / "1.pdf").unlink()
    damaged = (content_of(a_site.live), files_of(a_site.attachments))

    plan = a_site.refused("database-plan", GOOD=good)
    assert "would replace: database erp4" in plan
    assert (content_of(a_site.live), files_of(a_site.attachments)) == damaged
    kept = kept_of(a_site.types("database-restore", GOOD=good))
    assert (content_of(a_site.live), files_of(a_site.attachments)) == (before, files)
    assert "100 | 100" in a_site.types("database-look")
    a_site.types("backup-now")
    assert a_site.newest().manifest.label == "after the restore"

    a_site.types("database-undo", FILES=str(a_site.attachments), **kept)
    assert (content_of(a_site.live), files_of(a_site.attachments)) == damaged

    kept = kept_of(a_site.types("database-restore", GOOD=good))
    a_site.types("database-end", **kept)
    assert (content_of(a_site.live), files_of(a_site.attachments)) == (before, files)
    assert kept["KEPT"] not in databases_of(a_site.cluster)
    assert not Path(kept["KEPTFILES"]).exists()


def test_lost_attachments_come_back_alone_and_newer_ones_stay(a_site: Site) -> None:
    good, before = a_site.taken(), content_of(a_site.live)
    (a_site.attachments / "1.pdf").unlink()
    (a_site.attachments / "2.pdf").write_text("damaged")
    (a_site.attachments / "9.pdf").write_text("newer")

    plan = a_site.refused("files-plan", GOOD=good)
    assert "would replace: attachments" in plan
    kept = next(line for line in a_site.types("files-restore", GOOD=good).splitlines() if line.startswith("kept"))
    a_site.types("files-newer", FILES=str(a_site.attachments), KEPTFILES=kept.split(" ", 1)[1])

    found = {path.name: path.read_text() for path in a_site.attachments.iterdir()}
    assert found == {"1.pdf": "invoice 1", "2.pdf": "invoice 2", "3.pdf": "invoice 3", "9.pdf": "newer"}
    assert content_of(a_site.live) == before
    assert "rows_and_files_agree\tok" in a_site.types("files-check")


def test_a_database_whose_server_is_lost_goes_on_on_another(a_site: Site, a_new_server: Cluster) -> None:
    a_site.live.execute("CREATE ROLE clerk LOGIN PASSWORD 'kept'", "ALTER TABLE invoices OWNER TO clerk")
    good, before = a_site.taken(), content_of(a_site.live)
    there = {"HOST": str(a_new_server.socket_directory), "PORT": str(a_new_server.port)}

    printed = a_site.types("server-restore", GOOD=good, PASSWORD=a_new_server.password, **there)

    assert "rows in 3 tables equal their manifest" in printed
    assert content_of(Source(a_new_server, "erp4", a_site.sets)) == before
    with connect(a_new_server, "erp4", user="clerk", password="kept") as connection:
        assert connection.execute("SELECT count(*) FROM invoices").fetchone() == (100,)
    a_site.erp4["server"] |= {"host": there["HOST"], "port": a_new_server.port}
    a_site.environment["ERP4_PASSWORD"] = a_new_server.password
    a_site.write()
    a_site.types("server-after")
    assert a_site.newest().manifest.label == "on the new server"


def test_a_new_major_version_is_moved_to_by_a_release_and_a_restore(an_old_site: Site, a_new_server: Cluster) -> None:
    site = an_old_site
    printed = site.types("upgrade-before")
    good = site.newest().id
    assert f"set {good}" in printed.splitlines()[-1]

    there = {"HOST": str(a_new_server.socket_directory), "PORT": str(a_new_server.port)}
    site.types("upgrade-restore", GOOD=good, PASSWORD=a_new_server.password, **there)
    site.erp4["server"] |= {"host": there["HOST"], "port": a_new_server.port}
    site.environment |= {"ERP4_PASSWORD": a_new_server.password, "PGPASSWORD": a_new_server.password}
    site.write()
    site.types("upgrade-after", **there)

    newest = site.newest()
    assert (newest.manifest.server.version.split(".")[0], proof_of(newest) is not None) == ("17", True)
    assert newest.manifest.fingerprints.total_rows == 170


def test_everything_comes_back_on_a_new_host_from_a_bucket_alone(
    two_regions: Site, a_new_server: Cluster, keyrings: Keyrings
) -> None:
    site = two_regions
    (site.directory / ".env").write_text("JWT_SECRET=it\n")
    site.erp4["secrets"] = {"files": [".env"]}
    recipients(site, keyrings, keyrings.lena)
    good, before, files = site.taken("tokyo"), content_of(site.live), files_of(site.attachments)
    for lost in (site.sets, site.attachments, site.directory / "usb"):
        shutil.rmtree(lost)
    (site.directory / ".env").unlink()
    (site.directory / "usb").mkdir()
    site.erp4["server"] |= {"host": str(a_new_server.socket_directory), "port": a_new_server.port}
    site.environment["ERP4_PASSWORD"] = a_new_server.password
    site.write()

    assert good in site.types("host-look")
    site.types("host-key", KEY=private_key(site, keyrings.lena_home))
    site.types("host-secrets")
    assert (site.directory / "secrets" / "files" / ".env").read_text() == "JWT_SECRET=it\n"
    shutil.copy(site.directory / "secrets" / "files" / ".env", site.directory / ".env")
    site.types("host-restore")

    assert content_of(Source(a_new_server, "erp4", site.sets)) == before
    assert files_of(site.attachments) == files
    site.types("host-after", WHOSE=keyrings.lena)
    assert b"sec" not in gpg(Path(site.environment["GNUPGHOME"]), "--with-colons", "--list-secret-keys")
    newest = site.newest()
    assert (newest.manifest.label, newest.manifest.needs) == ("on the new host", frozenset())
    assert set(newest.copies) == {"usb", "tokyo", "osaka"}


def test_backups_go_on_without_the_local_store_and_without_dagsters_history(a_site: Site) -> None:
    a_site.taken("usb")
    shutil.rmtree(a_site.sets)
    a_site.types("local-after")
    assert a_site.newest().manifest.label == "on a new disk"

    a_site.types("orchestrator-truth")
    a_site.types("orchestrator-new")
    assert a_site.newest().manifest.label == "after the loss of Dagster"
    assert (a_site.directory / "var" / "dagster.lost" / "history").is_dir()
    assert (a_site.directory / "var" / "dagster" / "history").is_dir()


def test_the_second_region_alone_brings_everything_back_and_takes_the_next_backup(two_regions: Site) -> None:
    site = two_regions
    good, before = site.taken("tokyo", "osaka"), content_of(site.live)
    site.tree["stores"]["tokyo"]["bucket"] += "-lost"
    site.write()
    drop_database(site.cluster, "erp4")
    shutil.rmtree(site.sets)

    assert good in site.types("region-look")
    site.types("region-restore")
    assert content_of(site.live) == before

    del site.tree["stores"]["tokyo"], site.tree["stores"]["osaka"]["copied_from"]
    site.write()
    site.types("region-after")
    assert "osaka" in site.newest().copies


def test_another_recipient_opens_the_sets_when_a_key_is_lost(a_site: Site, keyrings: Keyrings) -> None:
    recipients(a_site, keyrings, keyrings.lena, keyrings.rob)
    a_site.taken("usb")

    told = a_site.types("key-who")
    assert keyrings.lena in told
    assert keyrings.rob in told
    assert "restored" in a_site.types("key-try", KEY=private_key(a_site, keyrings.rob_home))

    recipients(a_site, keyrings, keyrings.rob)
    a_site.types("key-new")
    newest = a_site.newest()
    assert newest.hold_at(datetime.now(UTC)) is not None
    assert newest.encryption is not None
    assert newest.encryption.recipients == (keyrings.rob,)


def test_the_snapshots_of_an_instance_are_listed_oldest_first(a_site: Site, aws: PretendedAws) -> None:
    found = shutil.which("aws", path="/usr/bin:/bin")
    if found is None:
        pytest.fail("aws is not installed") if "CI" in os.environ else pytest.skip("no aws here")
    program(a_site.programs / "aws", f'exec {found} --endpoint-url {aws.endpoint_url} "$@"')
    a_site.environment |= {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    aws.make_instance()
    client = aws.client("rds")
    for name in ("b-first", "a-second"):
        client.create_db_snapshot(DBSnapshotIdentifier=name, DBInstanceIdentifier="erp4-prod")

    listed = [line.split() for line in a_site.types("rds-snapshots").splitlines()]

    names = [line[2] for line in listed if not line[2].startswith("rds:")]
    assert names == ["b-first", "a-second"]
    assert {line[1] for line in listed} == {"available"}
