from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from backup_assets.capture.attachments_index import order_key
from backup_assets.capture.attachments_walk import walk
from backup_assets.errors import EnvironmentFault
from backup_assets_tests.capture.attachment_trees import plant, plant_odd_things


def test_everything_is_found_once_in_the_order_of_the_index(tmp_path: Path) -> None:
    plant_odd_things(tmp_path / "s")
    paths = [found.path for found in walk(tmp_path / "s")]
    expected = [b"./" + os.fsencode(path.relative_to(tmp_path / "s")) for path in (tmp_path / "s").rglob("*")]
    assert sorted(paths) == sorted(expected)
    assert paths == sorted(paths, key=order_key)


def test_links_to_directories_are_not_entered(tmp_path: Path) -> None:
    plant(tmp_path / "s", {b"loop": (b".",), b"out": (b"/",)})
    assert [(found.path, found.kind) for found in walk(tmp_path / "s")] == [(b"./loop", "l"), (b"./out", "l")]


def open_below(directory: Path) -> list[str]:
    """Return what is open of a directory in this process, in which other threads open and close things of their own."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(str(descriptor.readlink()))
    return [path for path in found if Path(path).is_relative_to(directory)]


def test_no_descriptor_stays_open_when_a_walk_is_given_up(tmp_path: Path) -> None:
    plant(tmp_path / "s", {b"a": {b"b": {b"c": b"1"}}})
    for _ in range(50):
        steps = walk(tmp_path / "s")
        assert next(steps).path == b"./a"
        assert open_below(tmp_path)
        del steps
    assert open_below(tmp_path) == []


def test_a_file_in_the_place_of_the_directory_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"")
    with pytest.raises(EnvironmentFault, match="ASSET_DIR"):
        next(walk(tmp_path / "s"))
