from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
import zstandard

from backup_assets.capture.attachments_tar import ArchiveReader, Member, end_of_archive, header, padding
from backup_assets.compressed import CompressedReader
from backup_assets.errors import CheckFailed

FILE = Member(b"./file", "f", 0o644, 1000, 1000, 5, 1_700_000_000)


def an_archive(path: Path, content: bytes) -> Path:
    path.write_bytes(zstandard.compress(content))
    return path


def read(path: Path) -> list[tuple[Member, bytes]]:
    with CompressedReader(path) as source:
        archive = ArchiveReader(source)
        return [(member, b"".join(archive.content())) for member in archive]


@pytest.mark.parametrize(
    "member",
    [
        FILE._replace(size=9 << 30),
        FILE._replace(size=8**11 - 1),
        FILE._replace(size=8**11),
        FILE._replace(mtime=-1),
        FILE._replace(uid=4_000_000_000, gid=2_097_152),
        FILE._replace(mode=0o7777),
    ],
)
def test_numbers_beyond_the_old_fields_are_read_by_an_independent_reader(member: Member) -> None:
    info = tarfile.TarInfo.frombuf(header(member), "utf-8", "surrogateescape")
    assert (info.size, info.mtime, info.uid, info.gid, info.mode) == (
        member.size,
        member.mtime,
        member.uid,
        member.gid,
        member.mode,
    )


def test_members_come_back_as_they_were_written(tmp_path: Path) -> None:
    members = [
        Member(b"./" + b"d" * 99, "d", 0o700, 0, 0, 0, -5),
        Member(b"./" + b"d" * 99 + b"/\xff", "l", 0o777, 1, 2, 0, 7, b"t" * 101),
        Member(b"./" + b"n" * 98, "f", 0o600, 3_000_000, 2, 5, 7),
    ]
    content = b"".join(header(member) + (b"12345" + padding(5) if member.size else b"") for member in members)
    path = an_archive(tmp_path / "a", content + end_of_archive(len(content)))
    assert [member for member, _ in read(path)] == members
    assert [content for _, content in read(path)] == [b"", b"", b"12345"]


WHOLE = header(FILE) + b"12345" + padding(5)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (WHOLE, "before its end mark"),
        (WHOLE[:514], "inside a member"),
        (WHOLE[:300], "before its end mark"),
        (WHOLE.replace(b"./file", b"./fi1e") + bytes(1024), "checksum"),
        (WHOLE + bytes(1024) + WHOLE, "more after its end"),
        (header(FILE._replace(name=b"/etc/passwd", size=0)) + bytes(1024), "plain path"),
        (header(FILE._replace(name=b"./../x", size=0)) + bytes(1024), "plain path"),
        (header(FILE._replace(name=b"./a/./x", size=0)) + bytes(1024), "plain path"),
        (header(FILE._replace(name=b"x", size=0)) + bytes(1024), "plain path"),
        (header(FILE._replace(name=b"./" + b"../" * 50 + b"x", size=0)) + bytes(1024), "plain path"),
        (header(FILE._replace(kind="d")) + bytes(1024), "unexpected kind"),
    ],
)
def test_what_is_never_written_is_damage(tmp_path: Path, content: bytes, complaint: str) -> None:
    with pytest.raises(CheckFailed) as caught:
        read(an_archive(tmp_path / "a", content))
    assert complaint in caught.value.why


def test_a_hard_link_from_another_program_is_damage(tmp_path: Path) -> None:
    info = tarfile.TarInfo("./x")
    info.type, info.linkname = tarfile.LNKTYPE, "/etc/passwd"
    with pytest.raises(CheckFailed) as caught:
        read(an_archive(tmp_path / "a", info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)))
    assert "unexpected kind" in caught.value.why
