from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from backup_assets.local import local_store, place_of
from backup_assets.restore.attachments import STOCK_RESTORE
from backup_assets.settings_capture import AttachmentsSettings, DumpSettings, SecretsSettings
from backup_assets.settings_encryption import EncryptionSettings
from backup_assets_tests.ciphers.keys import Keyrings
from backup_assets_tests.conftest import ClusterOf, SourceOf
from backup_assets_tests.docs.by_hand import (
    ATTACHMENTS,
    BEFORE,
    BLOCKS,
    CHOICE,
    DECRYPTING,
    ENGLISH,
    FETCHING,
    RESTORE,
    VARIABLES,
    TargetOf,
    files_below,
    place,
    wait_until_no_file_is_racy,
)
from backup_assets_tests.docs.pages import DOCS, blocks_of
from backup_assets_tests.end_to_end.stock_tools import content_of
from backup_assets_tests.sources import Source, connect

JAPANESE = DOCS / "restore-by-hand.ja.md"


def give_an_owner(source: Source, role: str) -> None:
    source.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'kept'", f"ALTER TABLE invoices OWNER TO {role}")


@pytest.mark.parametrize(
    ("major", "jobs", "block"),
    [(17, None, "dump"), (17, 2, "dump.tar"), (18, None, "dump.zst")],
    ids=lambda value: str(value),
)
def test_every_format_of_a_dump_is_restored_by_the_commands_of_the_page(
    major: int, jobs: int | None, block: str, cluster_of: ClusterOf, source_of: SourceOf, target_of: TargetOf
) -> None:
    source = source_of(
        cluster_of(major),
        "CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, born timestamptz, share float8)",
        "CREATE TABLE invoices (id int PRIMARY KEY, customer int REFERENCES customers, total numeric(12, 2))",
        "INSERT INTO customers SELECT n, '顧客' || n, '2026-11-22 02:00+09', n / 7.0 FROM generate_series(1, 50) n",
        "INSERT INTO invoices SELECT n, n % 50 + 1, n * 1.5 FROM generate_series(1, 1000) n",
    )
    role = f"owner_{source.name}"
    give_an_owner(source, role)
    settings = source.settings(dump=DumpSettings(jobs=jobs))
    captured = source.captured(settings)
    dump = captured.manifest.artifact("dump")
    assert dump is not None
    assert dump.name.endswith(f".{block}")
    target = target_of(captured, source.cluster)

    printed = target.must(place(settings), *BEFORE, block, "database", "compare")

    assert f"set {captured.manifest.id} of the database {source.name}; full archive of the attachments: none" in printed
    assert "no verification is recorded" in printed
    assert f"{dump.name}: OK" in printed
    assert "public.customers|50|t" in printed
    assert "public.invoices|1000|t" in printed
    restored = target.database(source.name)
    assert content_of(restored) == content_of(source)
    assert restored.value("SELECT tableowner FROM pg_tables WHERE tablename = 'invoices'") == role
    with connect(target.cluster, source.name, user=role, password="kept") as connection:
        assert connection.execute("SELECT count(*) FROM invoices").fetchone() == (1000,)
    source.execute(f"REASSIGN OWNED BY {role} TO postgres", f"DROP ROLE {role}")


def test_full_and_differential_attachments_are_restored_by_the_commands_of_the_page(
    a_database: Source, an_attachments_directory: Path, target_of: TargetOf
) -> None:
    wait_until_no_file_is_racy(an_attachments_directory)
    settings = a_database.settings(attachments=AttachmentsSettings(directory=an_attachments_directory))
    full = a_database.captured(settings)
    as_it_was = files_below(an_attachments_directory)
    target = target_of(full, a_database.cluster)

    printed = target.must(place(settings), *BEFORE[:-1], *ATTACHMENTS)

    assert f"full archive of the attachments: {full.manifest.id}" in printed
    assert "1 names to look at by hand" in printed
    assert files_below(target.work / "attachments") == as_it_was

    (an_attachments_directory / "2026" / "gone.pdf").unlink()
    (an_attachments_directory / "2026" / "changed.pdf").write_bytes(b"new and longer")
    (an_attachments_directory / "added.pdf").write_bytes(b"added")
    differential = a_database.captured(settings)
    assert differential.manifest.attachments is not None
    assert differential.manifest.attachments.mode == "differential"
    assert differential.manifest.attachments.archived_files < 4
    shutil.rmtree(target.work)

    printed = target.must(place(settings), *BEFORE[:-1], *ATTACHMENTS)

    assert f"set {differential.manifest.id} " in printed
    assert f"full archive of the attachments: {full.manifest.id}" in printed
    assert files_below(target.work / "attachments") == files_below(an_attachments_directory)


def test_no_file_of_the_full_archive_comes_back_when_all_of_them_are_gone(
    a_database: Source, an_attachments_directory: Path, target_of: TargetOf
) -> None:
    settings = a_database.settings(attachments=AttachmentsSettings(directory=an_attachments_directory))
    a_database.captured(settings)
    shutil.rmtree(an_attachments_directory)
    an_attachments_directory.mkdir()
    (an_attachments_directory / "new.pdf").write_bytes(b"new")
    differential = a_database.captured(settings)
    assert differential.manifest.attachments is not None
    assert differential.manifest.attachments.mode == "differential"
    target = target_of(differential, a_database.cluster)

    target.must(place(settings), *BEFORE[:-1], *ATTACHMENTS)

    assert files_below(target.work / "attachments") == {"new.pdf": b"new"}


def test_a_file_that_was_changed_after_the_restore_is_found_by_the_page(
    a_database: Source, an_attachments_directory: Path, target_of: TargetOf
) -> None:
    settings = a_database.settings(attachments=AttachmentsSettings(directory=an_attachments_directory))
    target = target_of(a_database.captured(settings), a_database.cluster)
    target.must(place(settings), *BEFORE[:-1], *ATTACHMENTS)
    (target.work / "attachments" / "2026" / "changed.pdf").write_bytes(b"OLD")
    known = 'ID=$(awk \'{print $3}\' "$WORK/sets"); FULL_ID=$ID; OUT="$WORK/attachments"'
    again = f'{known}; INDEX="$PLACE/assets/$ID.index.tsv.zst"'

    done = target.run(place(settings), "attachments-check", before=again)

    assert done.returncode != 0
    assert "./2026/changed.pdf: FAILED" in done.stdout


def test_one_table_is_restored_into_a_new_database_with_its_rows_alone(a_database: Source, target_of: TargetOf) -> None:
    captured = a_database.captured()
    target = target_of(captured, a_database.cluster)

    target.must(place(a_database.settings()), *BEFORE, "dump", "one-table", "one-table-rows")

    copy = target.database("one_table")
    assert content_of(copy)["public.invoices"] == content_of(a_database)["public.invoices"]
    assert copy.value("SELECT count(*) FROM customers") == 0
    assert len((target.work / "invoices.tsv").read_text().splitlines()) == 1000


def test_a_set_of_the_important_tables_is_restored_by_the_commands_of_the_page(
    a_database: Source, target_of: TargetOf
) -> None:
    settings = a_database.settings(important_tables=("invoices",))
    captured = a_database.captured(settings, kind="important_tables")
    target = target_of(captured, a_database.cluster)
    chosen = f"ID={captured.manifest.id}; FULL_ID=; DB={a_database.name}; umask 077; mkdir -p $WORK"
    chosen += "; export MANIFEST=$PLACE/meta/$ID.manifest.json"

    printed = target.must(
        place(settings), *CHOICE[3:], "checksums", "roles", "dump", "important-tables", "compare", before=chosen
    )

    assert printed.splitlines()[-1] == "public.invoices|1000|t"
    assert target.database(a_database.name).value("SELECT count(*) FROM customers") == 0


def test_secrets_are_opened_by_the_commands_of_the_page(
    a_database: Source, target_of: TargetOf, keyrings: Keyrings, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("JWT_SECRET=it\n")
    encryption = EncryptionSettings(recipients=(keyrings.lena,), gpg_homedir=keyrings.host)
    settings = a_database.settings(secrets=SecretsSettings(files=(tmp_path / ".env",)))
    settings = settings.model_copy(update={"encryption": encryption})
    target = target_of(a_database.captured(settings), a_database.cluster)
    target.has("gpg", "gpg-agent")

    printed = target.must(
        place(settings), *BEFORE[:-1], "secrets", before=f"export GNUPGHOME={keyrings.lena_home}"
    )  # fmt: skip

    assert ".tar.gpg: OK" in printed
    assert (target.work / "secrets" / "files" / ".env").read_text() == "JWT_SECRET=it\n"


def test_the_newest_full_set_is_chosen_although_other_sets_are_there(a_database: Source, target_of: TargetOf) -> None:
    settings = a_database.settings(important_tables=("invoices",))
    a_database.captured(settings)
    newest = a_database.captured(settings)
    weekly = a_database.captured(settings, kind="important_tables", slot="2099-01-04")
    target = target_of(newest, a_database.cluster)

    printed = target.must(place(settings), "prepare", "list", "choose").splitlines()

    assert printed[2].endswith(f" important_tables {weekly.manifest.id}")
    assert printed[3].startswith(f"set {newest.manifest.id} of the database {a_database.name};")


def test_a_manifest_with_one_changed_digit_fails_at_its_seal(a_database: Source, target_of: TargetOf) -> None:
    settings = a_database.settings()
    captured = a_database.captured(settings)
    path = local_store(settings).path_of(place_of(settings.databases[0], settings).manifest_key(captured.manifest.id))
    path.write_bytes(path.read_bytes().replace(b'"rows": 1000', b'"rows": 1001'))
    target = target_of(captured, a_database.cluster)

    done = target.run(place(settings), "prepare", "list", "choose", "seal")

    assert done.returncode != 0
    assert "-: FAILED" in done.stdout


def test_a_dump_with_one_flipped_bit_fails_at_its_checksum(a_database: Source, target_of: TargetOf) -> None:
    settings = a_database.settings()
    captured = a_database.captured(settings)
    dump = captured.manifest.artifact("dump")
    assert dump is not None
    path = place(settings) / dump.name
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    target = target_of(captured, a_database.cluster)

    done = target.run(place(settings), *BEFORE)

    assert done.returncode != 0
    assert f"{dump.name}: FAILED" in done.stdout


def test_a_row_with_another_value_is_found_by_the_comparison(a_database: Source, target_of: TargetOf) -> None:
    settings = a_database.settings()
    captured = a_database.captured(settings)
    target = target_of(captured, a_database.cluster)
    target.must(place(settings), *BEFORE, "dump", "database", "compare")
    target.database(a_database.name).execute("UPDATE invoices SET total = total + 0.01 WHERE id = 7")

    done = target.run(place(settings), "list", "choose", "compare")

    assert done.returncode != 0
    assert "public.invoices|1000|f" in done.stdout
    assert "public.customers|50|t" in done.stdout


def test_the_roles_of_the_backup_leave_the_password_of_the_connected_role(
    a_database: Source, target_of: TargetOf
) -> None:
    captured = a_database.captured()
    target = target_of(captured, a_database.cluster)
    assert target.cluster.password != a_database.cluster.password

    target.must(place(a_database.settings()), *BEFORE)

    with connect(target.cluster, "postgres") as connection:
        assert connection.execute("SELECT current_user").fetchone() == (target.cluster.superuser,)


def test_the_attachments_are_restored_with_the_commands_that_the_program_prints() -> None:
    assert BLOCKS["attachments"] == STOCK_RESTORE


def test_the_page_has_no_block_that_is_not_run() -> None:
    fetched = {name for meta, files, _ in FETCHING.values() for name in (*meta, *files)}
    decrypted = {name for blocks, _ in DECRYPTING.values() for name in blocks}
    run = {*BEFORE, *RESTORE, *fetched, *decrypted, "dump.zst", "dump.tar", "sums-local", "secrets", "key-end"}
    assert set(BLOCKS) == {*run, "one-table", "one-table-rows", "important-tables", *VARIABLES}


def test_the_variables_of_the_page_are_those_that_the_tests_set() -> None:
    assigned = {name: re.findall(r"\b([A-Z_]+)=", BLOCKS[name]) for name in VARIABLES}
    assert assigned == {
        "variables": ["PLACE", "WORK", "PGHOST", "PGPORT", "PGUSER"],
        "s3-variables": ["ENDPOINT", "REGION", "BUCKET", "KEYS", "AWS_ACCESS_KEY_ID"],
        "ssh-variables": ["REMOTE", "RSYNC_RSH"],
    }
    for name in VARIABLES:
        parsed = subprocess.run(["/bin/sh", "-n", "-c", BLOCKS[name]], env=dict(os.environ), check=False, timeout=60)
        assert parsed.returncode == 0


def test_the_japanese_page_has_the_same_commands() -> None:
    for english, japanese in zip(blocks_of(ENGLISH), blocks_of(JAPANESE), strict=True):
        assert japanese == english
