from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backup_assets.errors import Refused
from backup_assets.local import local_store
from backup_assets.restore.attachments_alone import restore_attachments_alone
from backup_assets.restore.restore import Restore, RestoreRequest
from backup_assets.settings_loading import load_settings
from backup_assets_tests.ciphers.keys import Keyrings
from backup_assets_tests.cli.conftest import Command, a_configured_database, an_empty_directory, attachments, command
from backup_assets_tests.restore.restoring import Erp, databases_of, files_of, quiet, unique
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


def alone(erp: Erp, *, log: Callable[[str], None] = quiet, to: Path | None = None) -> None:
    restore_attachments_alone(
        erp.settings.databases[0], erp.settings, local_store(erp.settings), catalog_of(erp.settings).resolve(), to=to,
        confirmed=True, log=log,
    )  # fmt: skip


def whole(erp: Erp, *, log: Callable[[str], None] = quiet, **request: Any) -> None:
    chosen, asked = catalog_of(erp.settings).resolve(), RestoreRequest(**{"confirmed": True, **request})
    Restore(erp.settings.databases[0], erp.settings, local_store(erp.settings), chosen, asked, log=log).run()


def whole_beside(erp: Erp, *, log: Callable[[str], None] = quiet) -> None:
    whole(erp, log=log, into=unique("copy"), attachments_to=erp.attachments)


@pytest.mark.parametrize(
    ("first", "second"),
    [(whole, alone), (whole_beside, alone), (alone, alone), (alone, whole), (alone, whole_beside)],
    ids=["alone beside a whole one", "alone beside one into a copy", "alone twice", "whole beside one alone",
         "into a copy beside one alone"],
)  # fmt: skip
def test_two_restores_of_one_directory_exclude_each_other(
    an_erp: Erp, first: Callable[..., None], second: Callable[..., None]
) -> None:
    an_erp.captured()
    (an_erp.attachments / "1.pdf").write_text("scribbled over")
    refusals = list[str]()

    def meanwhile(line: str) -> None:
        if not refusals:
            with pytest.raises(Refused, match="another restore") as refused:
                second(an_erp)
            refusals.append(line)
            assert str(an_erp.attachments) in refused.value.what
            assert "process" in refused.value.why

    first(an_erp, log=lambda line: meanwhile(line) if line.startswith(("attachments: ", "will replace")) else None)

    assert len(refusals) == 1
    assert (an_erp.attachments / "1.pdf").read_text() == "invoice 1"
    alone(an_erp, to=an_erp.attachments.with_name("others"))


def test_restores_of_two_directories_do_not_wait_for_each_other(an_erp: Erp) -> None:
    an_erp.captured()
    others = an_erp.attachments.with_name("others")

    alone(an_erp, log=lambda line: alone(an_erp, to=others) if line.startswith("will replace") else None)

    assert files_of(others) == files_of(an_erp.attachments)


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
