"""An encrypted set, downloaded, and restored by its own README.txt with stock programs and a private key."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from backup_assets.local import place_of
from backup_assets.named_stores import store_named
from backup_assets.restore.download import README, download_set
from backup_assets.settings import Settings
from backup_assets.settings_encryption import EncryptionSettings
from backup_assets_tests.cli.test_sets import client_environment, restored_by_hand
from backup_assets_tests.offsite.copying import flip_a_bit
from backup_assets_tests.restore.restoring import Erp, files_of
from backup_assets_tests.restore.test_opening import an_encrypted_erp, both_sides, newest
from backup_assets_tests.sources import connect

__all__ = ["an_encrypted_erp", "both_sides"]


def key_of(restorer: EncryptionSettings) -> dict[str, str]:
    """Return the variables of somebody who has a private key."""
    if restorer.age_identity_file is not None:
        return {"AGE_IDENTITY_FILE": str(restorer.age_identity_file)}
    return {"GNUPGHOME": str(restorer.gpg_homedir)}


def downloaded(settings: Settings, directory: Path, store: str) -> Path:
    place = place_of(settings.databases[0], settings)
    return download_set(store_named(settings, store), place, newest(settings, store), directory).directory


@pytest.fixture
def a_download(an_encrypted_erp: tuple[Erp, Settings], tmp_path: Path) -> Path:
    """The newest set, a differential one, from a store where everything of it is encrypted."""
    _, settings = an_encrypted_erp
    return downloaded(settings, tmp_path / "down load", "usb")


def steps_of(directory: Path) -> list[str]:
    return (directory / README).read_text().split("\n\n")[1:]


def stopped(erp: Erp, directory: Path, key: dict[str, str], *steps: str) -> subprocess.CompletedProcess[str]:
    """Run commands of a README that must end with an error, and return what they said."""
    argv, environment = ["sh", "-e", "-c", "\n".join(steps)], {**client_environment(erp.source), **key}
    done = subprocess.run(
        argv, cwd=directory, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode != 0, done.stdout
    return done


def require_whole(erp: Erp, directory: Path) -> None:
    assert sum(erp.rows().values()) == 220
    with connect(erp.cluster, erp.name) as connection:
        assert connection.execute("SELECT count(*), sum(total) FROM invoices").fetchone() == (100, 7575)
    assert files_of(directory / "attachments") == files_of(erp.attachments)


@pytest.mark.parametrize("store", ["usb", "local"])
def test_an_encrypted_set_is_restored_by_the_readme_of_its_download(
    store: str, an_encrypted_erp: tuple[Erp, Settings], tmp_path: Path
) -> None:
    erp, settings = an_encrypted_erp
    directory = downloaded(erp.settings if store == "local" else settings, tmp_path / "down load", store)

    restored_by_hand(erp.source, (directory / README).read_text(), directory, **key_of(settings.encryption))

    require_whole(erp, directory)


def test_a_download_of_an_encrypted_set_holds_nothing_plain_and_says_so(
    a_download: Path, an_encrypted_erp: tuple[Erp, Settings]
) -> None:
    _, settings = an_encrypted_erp
    suffix = ".gpg" if settings.encryption.cipher == "gpg" else ".age"
    files = {path.name for path in a_download.iterdir()} - {README, f"{a_download.name}.manifest.json"}
    assert len(files) == 6
    assert {name[-4:] for name in files} == {suffix}
    assert f"The files are encrypted with {suffix[1:]}." in (a_download / README).read_text()


def test_every_file_of_a_download_is_compared_before_anything_is_decrypted(
    a_download: Path, an_encrypted_erp: tuple[Erp, Settings]
) -> None:
    erp, settings = an_encrypted_erp
    before = erp.state()
    full = next(path for path in a_download.glob("*.tar.zst.*") if not path.name.startswith(a_download.name))
    full.write_bytes(full.read_bytes()[:-1])

    done = stopped(erp, a_download, key_of(settings.encryption), (a_download / README).read_text())

    assert f"{full.name}: FAILED" in done.stdout
    assert not (a_download / "plain").exists()
    assert erp.state() == before


def test_without_a_key_the_readme_stops_before_it_touches_the_server(
    a_download: Path, an_encrypted_erp: tuple[Erp, Settings], tmp_path: Path
) -> None:
    erp, _ = an_encrypted_erp
    before = erp.state()
    nobody = {"GNUPGHOME": str(tmp_path / "nobody"), "AGE_IDENTITY_FILE": "/nonexistent"}

    stopped(erp, a_download, nobody, (a_download / README).read_text())

    assert [path.name for path in (a_download / "plain").iterdir() if path.stat().st_size] == []
    assert erp.state() == before


@pytest.mark.parametrize("store", ["usb", "local"])
def test_a_decrypted_file_that_is_not_that_of_the_capture_stops_the_readme(
    store: str, an_encrypted_erp: tuple[Erp, Settings], tmp_path: Path
) -> None:
    erp, settings = an_encrypted_erp
    directory = downloaded(erp.settings if store == "local" else settings, tmp_path / "to", store)
    checksums, decrypted, compared = steps_of(directory)[:3]
    assert "those of the capture" in compared
    environment = {**client_environment(erp.source), **key_of(settings.encryption)}
    subprocess.run(["sh", "-e", "-c", f"{checksums}\n{decrypted}"], cwd=directory, env=environment, check=True)

    flip_a_bit(directory / "plain" / f"{directory.name}.sql")

    assert f"{directory.name}.sql: FAILED" in stopped(erp, directory, {}, compared).stdout


def test_an_altered_manifest_stops_the_readme_at_its_seal(
    a_download: Path, an_encrypted_erp: tuple[Erp, Settings]
) -> None:
    erp, settings = an_encrypted_erp
    checksums, decrypted, compared = steps_of(a_download)[:3]
    environment = {**client_environment(erp.source), **key_of(settings.encryption)}
    subprocess.run(["sh", "-e", "-c", f"{checksums}\n{decrypted}"], cwd=a_download, env=environment, check=True)
    manifest = a_download / "plain" / f"{a_download.name}.manifest.json"

    manifest.write_bytes(manifest.read_bytes().replace(b'"rows": 100,', b'"rows": 101,'))

    assert "-: FAILED" in stopped(erp, a_download, {}, compared).stdout
