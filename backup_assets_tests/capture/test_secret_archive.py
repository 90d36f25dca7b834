from __future__ import annotations

import hashlib
import hmac
import io
import json
import subprocess
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_assets.capture import secret_archive
from backup_assets.capture.secret_archive import Archive, Secret, pack, safe_name, unpack
from backup_assets.errors import CheckFailed, Refused
from backup_assets.sets.manifest import SecretsFacts

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
CANARY = b"correct horse battery staple"
SECRETS = (
    Secret("file", ".env", b"JWT_SECRET=" + CANARY),
    Secret("secrets_manager", "prod/erp4/db", CANARY, "v-1"),
    Secret("ssm_parameter", "/erp4/prod/token", b"", "7"),
)


def packed(*secrets: Secret) -> Archive:
    return pack(secrets or SECRETS, database="erp4", env="prod", now=NOW)


def facts_of(archive: Archive) -> SecretsFacts:
    return SecretsFacts(entries=archive.entries, recipients=("A" * 40,))


def rewritten(content: bytes, change: Callable[[dict[str, bytes]], None]) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        files = {m.name: tar.extractfile(m).read() for m in tar if m.isreg()}  # type: ignore[union-attr]
    change(files)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, body in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    return buffer.getvalue()


def test_what_was_packed_comes_back_with_names_kinds_and_versions() -> None:
    archive = packed()

    assert unpack(archive.content, facts_of(archive), "it") == SECRETS
    assert unpack(archive.content, None, "it") == SECRETS


def test_stock_tar_alone_brings_everything_back_as_private_files(tmp_path: Path) -> None:
    subprocess.run(["tar", "-x", "-p"], cwd=tmp_path, input=packed().content, check=True)

    assert (tmp_path / "files" / ".env").read_bytes() == b"JWT_SECRET=" + CANARY
    assert (tmp_path / "secrets_manager" / "prod%2Ferp4%2Fdb").read_bytes() == CANARY
    assert (tmp_path / "ssm_parameters" / "%2Ferp4%2Fprod%2Ftoken").read_bytes() == b""
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {0o600, 0o700}


def test_the_hash_is_an_hmac_whose_key_only_the_archive_has() -> None:
    archive = packed()
    with tarfile.open(fileobj=io.BytesIO(archive.content)) as tar:
        index = json.loads(tar.extractfile("index.json").read())  # type: ignore[union-attr]

    expected = hmac.new(bytes.fromhex(index["key"]), CANARY, hashlib.sha256).hexdigest()
    assert archive.entries[1].keyed_hash == expected
    told = facts_of(archive).model_dump_json()
    assert index["key"] not in told
    assert hashlib.sha256(CANARY).hexdigest() not in told


def test_the_same_value_has_another_hash_in_every_set() -> None:
    assert packed().entries[0].keyed_hash != packed().entries[0].keyed_hash


def test_no_representation_shows_a_value() -> None:
    assert CANARY.decode() not in repr(SECRETS) + repr(packed())


def test_more_than_the_limit_is_refused_and_the_largest_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_archive, "MOST_BYTES", 1_000_000)
    large = Secret("file", "dump.sql", bytes(1_000_001))

    with pytest.raises(Refused, match=r"larger than the 1 MB") as refused:
        packed(SECRETS[0], large)
    assert "dump.sql" in refused.value.why
    assert packed(Secret("file", "just", bytes(1_000_000))).entries[0].size_bytes == 1_000_000


@settings(deadline=None)
@given(st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=300))
def test_safe_names_stay_in_their_folder_and_apart(one: str, other: str) -> None:
    name = safe_name(one)

    assert "/" not in name
    assert "\0" not in name
    assert name not in ("", ".", "..")
    assert len(name.encode()) <= 255
    assert (name == safe_name(other)) == (one == other)


def altered(path: str) -> Callable[[dict[str, bytes]], None]:
    return lambda files: files.update({path: files[path] + b"x"})


def renamed_in_index(old: str, new: str) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        files["index.json"] = files["index.json"].replace(old.encode(), new.encode())
        files[new] = files.pop(old)

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(altered("files/.env"), id="a changed value"),
        pytest.param(lambda files: files.pop("files/.env"), id="a missing value"),
        pytest.param(lambda files: files.update({"files/more": b""}), id="one more value"),
        pytest.param(lambda files: files.pop("index.json"), id="no index"),
        pytest.param(lambda files: files.update({"index.json": b"{}"}), id="an empty index"),
        pytest.param(renamed_in_index("files/.env", "../../.env"), id="a path that leaves"),
        pytest.param(renamed_in_index("files/.env", "files/other"), id="another path"),
    ],
)
def test_an_archive_that_is_not_what_was_packed_is_damage(change: Callable[[dict[str, bytes]], None]) -> None:
    with pytest.raises(CheckFailed, match="are damaged") as failed:
        unpack(rewritten(packed().content, change), None, "secrets/ID.tar.gpg")
    assert CANARY.decode() not in str(failed.value)


def test_a_name_that_would_leave_its_folder_is_damage() -> None:
    archive = packed(Secret("file", "..", b"x"))

    with pytest.raises(CheckFailed, match="are damaged"):
        unpack(archive.content, None, "it")


@pytest.mark.parametrize("size", [0, 100, 700, 1500])
def test_a_truncated_archive_is_damage(size: int) -> None:
    with pytest.raises(CheckFailed, match="are damaged"):
        unpack(packed().content[:size], None, "it")


def test_the_archive_of_another_set_is_damage() -> None:
    with pytest.raises(CheckFailed, match="are damaged") as failed:
        unpack(packed().content, facts_of(packed()), "it")
    assert "not those of the set's manifest" in failed.value.why


def test_a_link_in_the_archive_is_damage() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo("files/.env")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)

    with pytest.raises(CheckFailed, match="are damaged"):
        unpack(buffer.getvalue(), None, "it")
