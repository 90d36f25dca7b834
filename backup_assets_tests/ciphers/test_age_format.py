from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from backup_assets.ciphers.age_format import is_recipient, read_message
from backup_assets.ciphers.contract import DamagedMessage
from backup_assets_tests.ciphers.keys import AgeKeys, flipped, truncated

CHUNK = 64 << 10


def a_message(keys: AgeKeys, path: Path, size: int) -> Path:
    to = ["-r", keys.lena, "-r", keys.rob]
    done = subprocess.run(["age", *to], input=bytes(size), check=True, capture_output=True)
    path.write_bytes(done.stdout)
    return path


def header_size(path: Path) -> int:
    content = path.read_bytes()
    return content.index(b"\n", content.index(b"\n--- ") + 1) + 1


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 200_000])
def test_recipients_and_size_are_those_of_the_message(age_keys: AgeKeys, tmp_path: Path, size: int):
    message = read_message(a_message(age_keys, tmp_path / "x.age", size))

    assert (message.recipients, message.size_plain) == (("X25519", "X25519"), size)


def test_a_message_cut_within_its_header_is_damaged(age_keys: AgeKeys, tmp_path: Path):
    whole = a_message(age_keys, tmp_path / "x.age", 1000)

    for length in range(header_size(whole) + 32):
        with pytest.raises(DamagedMessage):
            read_message(truncated(whole, tmp_path / "short", length))


@pytest.mark.parametrize("surplus", [1, 15, 16])
def test_a_message_cut_within_the_tag_of_its_last_chunk_is_damaged(age_keys: AgeKeys, tmp_path: Path, surplus: int):
    whole = a_message(age_keys, tmp_path / "x.age", 3 * CHUNK)
    short = truncated(whole, tmp_path / "short", header_size(whole) + 16 + CHUNK + 16 + surplus)

    with pytest.raises(DamagedMessage, match="no whole age file") as caught:
        read_message(short)

    assert caught.value.why == "it ends too early: it was truncated"


def test_a_message_cut_elsewhere_has_another_size(age_keys: AgeKeys, tmp_path: Path):
    whole = a_message(age_keys, tmp_path / "x.age", 3 * CHUNK)

    assert read_message(truncated(whole, tmp_path / "short", whole.stat().st_size - 100)).size_plain == 3 * CHUNK - 100


def test_flipped_bits_in_the_structure_of_the_header_are_damage(age_keys: AgeKeys, tmp_path: Path):
    whole = a_message(age_keys, tmp_path / "x.age", 1000)
    structure = [0, 20, 21, 22, 23, 24, header_size(whole) - 1, whole.read_bytes().index(b"\n--- ") + 1]

    for offset in structure:
        with pytest.raises(DamagedMessage):
            read_message(flipped(whole, tmp_path / "flipped", offset))


@pytest.mark.parametrize("content", [b"", b"plain", b"age-encryption.org/v1\n--- " + b"A" * 43 + b"\n" + bytes(99)])
def test_what_is_no_message_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "file").write_bytes(content)

    with pytest.raises(DamagedMessage, match="file is no whole age file"):
        read_message(tmp_path / "file")


def test_an_endless_header_is_refused_in_bounded_time_and_memory(tmp_path: Path):
    with (tmp_path / "file").open("wb") as handle:
        handle.write(b"age-encryption.org/v1\n-> X25519 ")
        handle.truncate(1 << 40)
    (tmp_path / "lines").write_bytes(b"age-encryption.org/v1\n" + b"-> X25519 a\n\n" * 100_000)

    for name in ("file", "lines"):
        with pytest.raises(DamagedMessage, match="no whole age file"):
            read_message(tmp_path / name)


def test_only_a_recipient_with_its_right_checksum_is_one(age_keys: AgeKeys):
    assert is_recipient(age_keys.lena)
    assert is_recipient(age_keys.rob)
    for at in range(4, 62):
        other = "q" if age_keys.lena[at] != "q" else "p"
        assert not is_recipient(age_keys.lena[:at] + other + age_keys.lena[at + 1 :])
    for text in ("", "age1", age_keys.lena[:-1], f"{age_keys.lena}q", age_keys.lena.upper(), f"{age_keys.lena}\n"):
        assert not is_recipient(text)
