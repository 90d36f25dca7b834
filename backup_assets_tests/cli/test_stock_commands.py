"""The commands that `show --store` prints, and the README.txt of a download, run as they stand."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from backup_assets.settings_loading import load_settings
from backup_assets_tests.ciphers.keys import AgeKeys, Keyrings, require
from backup_assets_tests.cli.conftest import Command
from backup_assets_tests.cli.test_sets import restored_by_hand
from backup_assets_tests.cli.test_stores import a_bucket, a_server, usb
from backup_assets_tests.offsite.test_another_host import another_host, there
from backup_assets_tests.sources import Source, capture

__all__ = ["a_bucket", "a_server", "another_host", "there", "usb"]

#: The fixture that configures each store by variables.
CONFIGURED_BY = {"folder": "usb", "s3": "a_bucket", "remote": "there"}
KeyOf = Callable[[str | None], dict[str, str]]


@pytest.fixture
def key_of(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> KeyOf:
    """Configure encryption with that cipher, or none, and return the variables of somebody who has a private key."""

    def of(cipher: str | None) -> dict[str, str]:
        if cipher == "gpg":
            rings: Keyrings = request.getfixturevalue("keyrings")
            monkeypatch.setenv("GPG_RECIPIENT", rings.lena)
            monkeypatch.setenv("GPG_HOMEDIR", str(rings.host))
            return {"GNUPGHOME": str(rings.lena_home)}
        if cipher == "age":
            keys: AgeKeys = request.getfixturevalue("age_keys")
            monkeypatch.setenv("AGE_RECIPIENT", keys.lena)
            return {"AGE_IDENTITY_FILE": str(keys.lena_file)}
        return {}

    return of


def backed_up_twice(command: Command, attachments: Path) -> str:
    """Take a full and a differential set, copy both everywhere, and return the second one's id."""
    capture(load_settings())
    (attachments / "new.pdf").write_bytes(b"%PDF a second generation")
    (attachments / "logo.png").unlink()
    ended = command("backup", "--no-verify")
    assert ended.status == 0, ended.err
    return ended.value("set")


def require_restored(source: Source, restored: Path) -> None:
    assert source.value("SELECT sum(total) FROM invoices") == 750750
    assert {path.name: path.read_bytes() for path in restored.rglob("*") if path.is_file()} == {
        "1.pdf": b"%PDF the first",
        "new.pdf": b"%PDF a second generation",
    }


@pytest.mark.parametrize(
    ("store", "cipher"), [("s3", None), ("s3", "gpg"), ("remote", None), ("remote", "age"), ("folder", "gpg")]
)
def test_the_commands_that_are_shown_for_a_store_restore_the_set(
    store: str, cipher: str | None, command: Command, a_configured_database: Source, attachments: Path, key_of: KeyOf,
    request: pytest.FixtureRequest, tmp_path: Path,
) -> None:  # fmt: skip
    request.getfixturevalue(CONFIGURED_BY[store])
    require("aws", "rsync")
    key = key_of(cipher)
    set_id = backed_up_twice(command, attachments)
    script = json.loads(command("show", set_id, "--store", store, "--json").out)["stock_commands"]
    aws = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}

    restored_by_hand(a_configured_database, script, tmp_path / "by hand", **key, **aws)

    require_restored(a_configured_database, tmp_path / "by hand" / "attachments")


@pytest.mark.parametrize(("store", "cipher"), [("s3", "age"), ("remote", "gpg")])
def test_an_encrypted_set_is_restored_by_the_readme_of_its_download(
    store: str, cipher: str, command: Command, a_configured_database: Source, attachments: Path, key_of: KeyOf,
    request: pytest.FixtureRequest, tmp_path: Path,
) -> None:  # fmt: skip
    request.getfixturevalue(CONFIGURED_BY[store])
    key = key_of(cipher)
    set_id = backed_up_twice(command, attachments)
    ended = command("download", set_id, "--store", store, "--to", str(tmp_path / "down load"))
    assert ended.status == 0, ended.err
    directory = tmp_path / "down load" / set_id

    restored_by_hand(a_configured_database, (directory / "README.txt").read_text(), directory, **key)

    require_restored(a_configured_database, directory / "attachments")
