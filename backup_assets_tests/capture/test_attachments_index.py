from __future__ import annotations

from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backup_assets.capture.attachments_index import (
    IndexEntry,
    IndexHeader,
    IndexWriter,
    escape,
    order_key,
    read_index,
    unescape,
)
from backup_assets.errors import CheckFailed, EnvironmentFault

HEADER = "# backup_assets/index\tversion=1\tset=S\tfull_set=S\tscan_started_ns=5\n"
LINE = "here\tf\t1\t2\t3\t4\t644\t" + "0" * 64 + "\t./{}\n"


@settings(deadline=None)
@given(st.binary(min_size=1).filter(lambda path: b"\0" not in path))
def test_any_path_is_one_line_of_text_and_comes_back(path: bytes) -> None:
    text = escape(path)
    assert not set(text) & set("\n\t\r")
    assert unescape(text.encode()) == path


def test_japanese_stays_readable() -> None:
    assert escape("./請求書.pdf".encode()) == "./請求書.pdf"


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(st.binary(min_size=1, max_size=3).filter(lambda name: not set(name) & set(b"/\0")))))
def test_paths_are_ordered_by_component(paths: list[list[bytes]]) -> None:
    by_key = sorted((b"/".join([b".", *path]) for path in paths), key=order_key)
    assert by_key == [b"/".join([b".", *path]) for path in sorted(paths)]


def test_entries_come_back_as_they_were_written(tmp_path: Path) -> None:
    entries = [
        IndexEntry("here", "d", 0, -5, 3, 7, 0o1755, "-", b"./a"),
        IndexEntry("full", "f", 1 << 40, 2, 3, 8, 0o600, "0" * 64, b"./a/\xff\n\t\\"),
    ]
    writer = IndexWriter(tmp_path / "index", IndexHeader("D", "F", 9))
    for entry in entries:
        writer.add(entry)
    writer.close()
    header, read = read_index(tmp_path / "index")
    assert header == IndexHeader("D", "F", 9)
    assert list(read) == entries


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "first line"),
        (HEADER.replace("version=1", "version=2") + "# end\tentries=0\n", "first line"),
        (HEADER, "no end line"),
        (HEADER + LINE.format("a"), "no end line"),
        (HEADER + LINE.format("a") + "# end\tentries=2\n", "line 3"),
        (HEADER + "# end\tentries=0\n" + LINE.format("a"), "line 2"),
        (HEADER + LINE.format("b") + LINE.format("a") + "# end\tentries=2\n", "out of order"),
        (HEADER + LINE.format("a") + LINE.format("a") + "# end\tentries=2\n", "out of order"),
        (HEADER + LINE.format("a").replace("here", "there") + "# end\tentries=1\n", "line 2 is not an entry"),
        (HEADER + LINE.format("a").replace("\tf\t", "\tx\t") + "# end\tentries=1\n", "line 2 is not an entry"),
        (HEADER + LINE.format("a").replace("./", "/") + "# end\tentries=1\n", "line 2 is not an entry"),
        (HEADER + "here\tf\n# end\tentries=1\n", "line 2 is not an entry"),
    ],
)
def test_a_damaged_index_is_never_read_as_a_shorter_one(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "index"
    path.write_bytes(zstandard.compress(content.encode()))
    with pytest.raises(CheckFailed) as caught:
        list(read_index(path)[1])
    assert complaint in caught.value.why


def test_a_missing_index_is_the_environments_fault(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="gone cannot be read"):
        read_index(tmp_path / "gone")
