from __future__ import annotations

import os
import random
import sys
import tempfile
from pathlib import Path

import pytest
import zstandard

from backup_assets import process
from backup_assets.compressed import CompressedFile, CompressedReader
from backup_assets.errors import BackupError, CheckFailed, EnvironmentFault

CHUNK = 1 << 20


def write(path: Path, content: bytes) -> CompressedFile:
    file = CompressedFile(path, all_cores=True)
    for start in range(0, len(content), 300_000):
        file.write(content[start : start + 300_000])
    file.close()
    return file


def read(path: Path, size: int = CHUNK) -> bytes:
    pieces = []
    with CompressedReader(path) as reader:
        while piece := reader.read(size):
            pieces.append(piece)
    return b"".join(pieces)


@pytest.mark.parametrize("size", [0, 1, 511, CHUNK - 1, CHUNK, CHUNK + 1, 7 * CHUNK + 13])
@pytest.mark.parametrize("step", [512, 100_000, CHUNK])
def test_content_comes_back_whatever_the_steps(tmp_path: Path, size: int, step: int) -> None:
    content = random.Random(size).randbytes(size)
    write(tmp_path / "f", content)
    assert read(tmp_path / "f", step) == content


def test_stock_zstd_reads_it(tmp_path: Path) -> None:
    write(tmp_path / "f", b"hello\n" * 1000)
    assert process.run(["zstd", "-dc", str(tmp_path / "f")], timeout=30).stdout == "hello\n" * 1000


def test_what_the_zstd_program_wrote_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"two")
    process.run(["zstd", "-q", str(tmp_path / "a"), str(tmp_path / "b")], timeout=30)
    (tmp_path / "both").write_bytes((tmp_path / "a.zst").read_bytes() + (tmp_path / "b.zst").read_bytes())
    assert read(tmp_path / "both") == b"onetwo"


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    write(tmp_path / "f", random.Random(1).randbytes(500) + bytes(500))
    whole = (tmp_path / "f").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(CheckFailed):
            read(tmp_path / "cut")


def test_a_truncation_inside_a_block_that_was_stored_as_it_is_is_noticed(tmp_path: Path) -> None:
    write(tmp_path / "f", random.Random(1).randbytes(300_000))
    whole = (tmp_path / "f").read_bytes()
    assert len(whole) > 300_000
    for length in (*range(1, 200), *range(200, len(whole), 997), *range(len(whole) - 200, len(whole))):
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(CheckFailed):
            read(tmp_path / "cut")


def test_every_flipped_bit_is_noticed_or_harmless(tmp_path: Path) -> None:
    content = random.Random(1).randbytes(60) + bytes(60)
    write(tmp_path / "f", content)
    whole = (tmp_path / "f").read_bytes()
    for bit in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        (tmp_path / "flipped").write_bytes(damaged)
        try:
            assert read(tmp_path / "flipped") == content
        except CheckFailed:
            continue


def test_zeros_without_end_stay_in_bounded_memory(tmp_path: Path) -> None:
    with (tmp_path / "bomb").open("wb") as out, zstandard.ZstdCompressor().stream_writer(out, closefd=False) as writer:
        for _ in range(256):
            writer.write(bytes(CHUNK))
    largest = total = 0
    with CompressedReader(tmp_path / "bomb") as reader:
        while piece := reader.read(1 << 30):
            largest, total = max(largest, len(piece)), total + len(piece)
    assert (largest, total) == (CHUNK, 256 * CHUNK)


def test_an_endless_line_is_damage(tmp_path: Path) -> None:
    write(tmp_path / "f", b"x" * (5 * CHUNK))
    with pytest.raises(CheckFailed, match="damaged"):
        list(CompressedReader(tmp_path / "f").lines())


def test_a_discarded_file_is_gone_and_its_thread_ended(tmp_path: Path) -> None:
    file = CompressedFile(tmp_path / "f", all_cores=True)
    file.write(os.urandom(3 * CHUNK))
    file.discard()
    assert not (tmp_path / "f").exists()
    assert not file._writer.is_alive()


@pytest.mark.parametrize("size", [10, 50 * CHUNK])
def test_a_disk_that_fills_up_is_an_error_and_never_a_hang(size: int) -> None:
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({max(5, size // 4)},) * 2)"
    script = (
        f"{limit}\nimport os, sys, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from pathlib import Path\nfrom backup_assets.compressed import CompressedFile\n"
        "from backup_assets.errors import EnvironmentFault\n"
        f"file = CompressedFile(Path(sys.argv[1]), all_cores=True)\n"
        "try:\n"
        f"    [file.write(os.urandom(min(1 << 20, {size}))) for _ in range(max(1, {size} >> 20))]\n    file.close()\n"
        "except EnvironmentFault as error:\n    print(error.what)\nfinally:\n    file.discard()\n"
    )
    with tempfile.TemporaryDirectory() as work:
        out = process.run([sys.executable, "-c", script, f"{work}/f"], timeout=60).stdout
        assert out == f"{work}/f cannot be written\n"
        assert list(Path(work).iterdir()) == []


A_DISK_THAT_RECOVERS = """
import contextlib, os, resource, signal, sys
from pathlib import Path
from backup_assets.compressed import CompressedFile
from backup_assets.errors import EnvironmentFault
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
file = CompressedFile(Path(sys.argv[1]), all_cores=True)
with contextlib.suppress(EnvironmentFault):
    for _ in range(50):
        file.write(os.urandom(1 << 20))
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
try:
    file.close()
except EnvironmentFault as error:
    print(error.what)
"""


def test_a_write_that_failed_once_is_not_forgotten_when_there_is_room_again(tmp_path: Path) -> None:
    out = process.run([sys.executable, "-c", A_DISK_THAT_RECOVERS, str(tmp_path / "f")], timeout=60).stdout
    assert out == f"{tmp_path / 'f'} cannot be written\n"


def test_a_missing_directory_is_the_environments_fault(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault):
        CompressedFile(tmp_path / "no" / "f", all_cores=False)
    with pytest.raises(BackupError):
        CompressedReader(tmp_path / "no")
