"""How does a directory-format dump become one file, come back from it, and prove readable to its end?"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import zstandard

from backup_assets.errors import CheckFailed, EnvironmentFault
from backup_assets.postgres.clients import Clients
from backup_assets.process import ProgramFailed, require_not_killed, run, started
from backup_assets.stores.disk_faults import explained

#: Of zstd, RFC 8878, sections 3.1.1.1 and 3.1.1.2.2.
_LONGEST_FRAME_HEADER_BYTES = 18
_REPEATED_BYTE = 1


def pack_directory(directory: Path, target: Path) -> None:
    """Write a directory-format dump to ``target`` as one plain tar, its list of contents first.

    Raises EnvironmentFault when it cannot be written.
    """
    with explained(f"write {target.name}", target.parent):
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with (
            os.fdopen(descriptor, "wb") as handle,
            tarfile.open(fileobj=handle, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for path in sorted(directory.iterdir(), key=lambda path: (path.name != "toc.dat", path.name)):
                archive.add(path, arcname=path.name, filter=_anonymous)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o600
    return member


def unpack_directory_dump(path: Path, workdir: Path) -> Path:
    """Unpack a directory-format dump into a new directory below ``workdir`` and return it."""
    directory = Path(tempfile.mkdtemp(prefix="unpacked-", dir=workdir))
    try:
        with tarfile.open(path, "r|") as archive:
            archive.extractall(directory, filter="data")
    except tarfile.TarError as error:
        shutil.rmtree(directory, ignore_errors=True)
        raise CheckFailed(
            f"the dump {path.name} is damaged", why=str(error), remedy="use another set or another copy"
        ) from error
    except OSError as error:
        shutil.rmtree(directory, ignore_errors=True)
        raise EnvironmentFault(
            f"the dump {path.name} cannot be unpacked in {workdir}", why=str(error), remedy="free space on that disk"
        ) from error
    return directory


def read_whole_directory(clients: Clients, directory: Path, workdir: Path, *, jobs: int, timeout: float) -> None:
    """Read a directory-format dump to its end with up to ``jobs`` processes; raises CheckFailed when it cannot be read.

    Each entry of its list of contents is read by one of them. ``timeout`` is in seconds.
    """
    for path in sorted(directory.glob("*.zst")):
        _require_whole_frames(path)
    argv = [clients.program("pg_restore"), "--format=directory"]
    with damage_of(directory.name), tempfile.TemporaryDirectory(prefix="reading-", dir=workdir) as lists:
        contents = run([*argv, "--list", str(directory)], timeout=timeout).stdout
        with ExitStack() as running:
            for number, share in enumerate(_shares(contents, directory, min(jobs, os.cpu_count() or 1))):
                chosen = Path(lists) / str(number)
                chosen.write_text("".join(f"{entry};\n" for entry in share), encoding="ascii")
                options = [f"--use-list={chosen}", "--file=/dev/null", str(directory)]
                running.enter_context(started([*argv, *options], timeout=timeout))


def _require_whole_frames(path: Path) -> None:
    """Walk the blocks of a zstd file from its first to its last byte; raises CheckFailed when they end elsewhere.

    pg_restore takes a file that was cut off for a shorter table and exits 0. What is inside the blocks it does read.
    """
    size = path.stat().st_size
    if not size and path.name.startswith("blob_"):
        return  # an empty large object: pg_dump has written nothing, not even a frame
    with path.open("rb") as handle:
        while (begin := handle.tell()) < size or not size:
            header = handle.read(_LONGEST_FRAME_HEADER_BYTES)
            try:
                handle.seek(begin + zstandard.frame_header_size(header))
                has_checksum = zstandard.get_frame_parameters(header).has_checksum
            except (zstandard.ZstdError, ValueError) as error:
                raise _cut_off(path, str(error)) from error
            last = False
            while not last:
                start = handle.read(3)
                block = int.from_bytes(start, "little")
                last = bool(block & 1)
                handle.seek(1 if (block >> 1) & 3 == _REPEATED_BYTE else block >> 3, os.SEEK_CUR)
                if len(start) < 3 or handle.tell() > size:
                    raise _cut_off(path, f"it ends within a block, after {size} bytes")
            handle.seek(4 if has_checksum else 0, os.SEEK_CUR)
        if handle.tell() != size:
            raise _cut_off(path, f"it ends within its checksum, after {size} bytes")


def _cut_off(path: Path, why: str) -> CheckFailed:
    return CheckFailed(
        f"the dump {path.parent.name} cannot be read to its end",
        why=f"{path.name}: {why}",
        remedy="use another set or another copy",
    )


def _shares(contents: str, directory: Path, count: int) -> list[list[str]]:
    """Return the numbers of all entries in at most ``count`` shares whose data are about equally large."""
    numbers = [line.partition(";")[0] for line in contents.splitlines()]
    weighed = [(_data_bytes(number, directory), number) for number in numbers if number.isdecimal()]
    shares: list[list[str]] = [[] for _ in range(count)]
    bytes_of = [0] * count
    for size, number in sorted(weighed, reverse=True):
        lightest = bytes_of.index(min(bytes_of))
        shares[lightest].append(number)
        bytes_of[lightest] += size
    return [share for share in shares if share]


def _data_bytes(number: str, directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.glob(f"{number}.dat*"))


@contextmanager
def damage_of(name: str) -> Iterator[None]:
    """Turn the failure of a program that reads a dump into CheckFailed: the dump ``name`` is damaged.

    Raises TransientFault when a signal ended it: nothing is known of the dump then, and a proof that it has stays.
    """
    try:
        yield
    except (ProgramFailed, BrokenPipeError) as failure:
        require_not_killed(failure, f"read the dump {name}")
        why = failure.stderr if isinstance(failure, ProgramFailed) else str(failure)
        raise CheckFailed(
            f"the dump {name} cannot be read to its end", why=why, remedy="use another set or another copy"
        ) from failure
