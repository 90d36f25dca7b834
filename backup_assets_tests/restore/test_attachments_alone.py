from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from backup_assets.local import local_store
from backup_assets.restore.attachments_alone import restore_attachments_alone
from backup_assets.settings import load_settings
from backup_assets_tests.ciphers.keys import Keyrings
from backup_assets_tests.cli.conftest import Command, a_configured_database, an_empty_directory, attachments, command
from backup_assets_tests.restore.restoring import Erp, databases_of, files_of
from backup_assets_tests.sources import Source, capture, catalog_of

__all__ = ["a_configured_database", "an_empty_directory", "attachments", "command"]


@pytest.fixture
def two_generations(command: Command, a_configured_database: Source, attachments: Path) -> dict[str, str]:
    """Take a full and a differential set, then lose a file and damage another; return what there was."""
    time.sleep(2.1)  # a full archive trusts the times of files that are older than this
    capture(load_settings())
    (attachments / "second.pdf").write_bytes(b"%PDF the second")
    assert capture(load_settings()).manifest.needs
    before = files_of(attachments)
    shutil.rmtree(attachments / "invoices")
    (attachments / "logo.png").write_bytes(b"scribbled over")
    return before


def test_attachments_come_back_alone_and_the_database_is_not_touched(
    command: Command, two_generations: dict[str, str], a_configured_database: Source, attachments: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    a_configured_database.execute("DELETE FROM invoices WHERE id > 10")
    databases = databases_of(a_configured_database.cluster)
    damaged = files_of(attachments)
    monkeypatch.setenv("RESTORE_CONFIRM", "1")

    ended = command("restore", "--attachments-only", "--json")

    assert ended.status == 0, ended.err
    assert files_of(attachments) == two_generations
    done = json.loads(ended.out)
    assert (done["files"], files_of(Path(done["kept"]))) == (3, damaged)
    assert a_configured_database.value("SELECT count(*) FROM invoices") == 10
    assert databases_of(a_configured_database.cluster) == databases


def test_without_confirmation_nothing_is_replaced_and_the_directory_is_named(
    command: Command, two_generations: dict[str, str], attachments: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged, beside = files_of(attachments), sorted(attachments.parent.iterdir())
    ended = command("restore", "--attachments-only")
    assert ended.status == 2
    assert f"would replace: attachments {attachments} (kept under another name)" in ended.err
    assert (files_of(attachments), sorted(attachments.parent.iterdir())) == (damaged, beside)


def test_a_damaged_archive_replaces_nothing(
    command: Command, two_generations: dict[str, str], a_configured_database: Source, attachments: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    damaged, beside = files_of(attachments), sorted(attachments.parent.iterdir())
    archive = max((a_configured_database.backup_dir / "erp4" / "local" / "assets").glob("*.tar.zst"))
    content = bytearray(archive.read_bytes())
    content[-1] ^= 1
    archive.write_bytes(content)
    monkeypatch.setenv("RESTORE_CONFIRM", "1")

    ended = command("restore", "--attachments-only")

    assert ended.status == 1, ended.err
    assert (files_of(attachments), sorted(attachments.parent.iterdir())) == (damaged, beside)


def test_drop_old_leaves_the_restored_files_only(
    command: Command, two_generations: dict[str, str], attachments: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORE_CONFIRM", "1")
    assert command("restore", "--attachments-only", "--drop-old").status == 0
    assert files_of(attachments) == two_generations
    assert [path.name for path in attachments.parent.iterdir() if path.name.startswith("attachments_")] == []


def test_drop_old_keeps_files_that_came_after_the_plan_was_shown(an_erp: Erp) -> None:
    an_erp.captured()
    there, said = an_erp.attachments.parent / "copies", list[str]()

    def meanwhile(line: str) -> None:
        said.append(line)
        if line.startswith("will create"):
            there.mkdir()
            (there / "precious.pdf").touch()

    outcome = restore_attachments_alone(
        an_erp.settings.databases[0], an_erp.settings, local_store(an_erp.settings),
        catalog_of(an_erp.settings).resolve(), to=there, confirmed=True, drop_old=True, log=meanwhile,
    )  # fmt: skip

    assert {path.name for path in there.iterdir()} == {f"{number}.pdf" for number in range(1, 4)}
    assert outcome.kept is not None
    assert [path.name for path in outcome.kept.iterdir()] == ["precious.pdf"]
    assert said[-1].startswith(f"attachments {outcome.kept} is kept")


def test_an_encrypted_copy_gives_its_attachments_to_whoever_has_the_key(
    command: Command, a_configured_database: Source, attachments: Path, keyrings: Keyrings, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("GPG_RECIPIENT", keyrings.lena)
    monkeypatch.setenv("GPG_HOMEDIR", str(keyrings.host))
    (tmp_path / "usb").mkdir()
    monkeypatch.setenv("FOLDER_COPY_DIR", str(tmp_path / "usb"))
    assert command("backup", "--no-verify").status == 0
    before = files_of(attachments)
    shutil.rmtree(attachments)
    attachments.mkdir()
    monkeypatch.setenv("RESTORE_CONFIRM", "1")

    refused = command("restore", "--attachments-only", "--store", "folder")
    assert refused.status != 0
    assert list(attachments.iterdir()) == []

    monkeypatch.setenv("GPG_HOMEDIR", str(keyrings.lena_home))
    ended = command("restore", "--attachments-only", "--store", "folder")
    assert ended.status == 0, ended.err
    assert files_of(attachments) == before


def test_a_set_without_attachments_is_refused(
    command: Command, a_configured_database: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture(load_settings())
    monkeypatch.setenv("RESTORE_CONFIRM", "1")
    ended = command("restore", "--attachments-only")
    assert (ended.status, "has no attachments" in ended.err) == (2, True)


@pytest.mark.parametrize("more", [["--into", "x"], ["--table", "public.invoices"], ["--file", "x.dump"]])
def test_what_is_about_a_database_is_refused(
    command: Command, two_generations: dict[str, str], more: list[str]
) -> None:
    assert command("restore", "--attachments-only", *more).status == 2
