from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest

from backup_assets.files import (
    commit_partial,
    make_private_directory,
    partial_file,
    partial_path,
    replace_durably,
    sha256_of,
    write_durably,
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_every_directory_that_is_made_is_private(tmp_path: Path):
    made = make_private_directory(tmp_path / "a" / "b" / "c")

    assert [mode(tmp_path / part) for part in ("a", "a/b", "a/b/c")] == [0o700] * 3
    assert make_private_directory(made) == made


def test_a_file_has_its_name_only_when_it_is_complete(tmp_path: Path):
    final = tmp_path / "x.json"

    with partial_file(final) as handle:
        handle.write(b"whole")
        assert not final.exists()

    assert final.read_bytes() == b"whole"
    assert mode(final) == 0o600
    assert list(tmp_path.iterdir()) == [final]


def test_a_file_that_was_not_finished_leaves_nothing(tmp_path: Path):
    with pytest.raises(RuntimeError), partial_file(tmp_path / "x") as handle:
        handle.write(b"half")
        raise RuntimeError

    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_never_replaced(tmp_path: Path):
    final = tmp_path / "x"
    write_durably(final, b"first")

    with pytest.raises(FileExistsError):
        write_durably(final, b"second")

    assert final.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [final]


def test_partials_of_one_name_do_not_meet(tmp_path: Path):
    assert partial_path(tmp_path / "x") != partial_path(tmp_path / "x")
    partial = partial_path(tmp_path / "x")
    partial.write_bytes(b"1")
    partial.chmod(0o644)

    commit_partial(partial, tmp_path / "x")

    assert mode(tmp_path / "x") == 0o600


def test_a_hash_is_that_of_the_content(tmp_path: Path):
    (tmp_path / "x").write_bytes(b"abc" * 1_000_000)

    assert sha256_of(tmp_path / "x") == hashlib.sha256(b"abc" * 1_000_000).hexdigest()


def test_a_file_is_replaced_whole_and_stays_private(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    replace_durably(path, b"old")
    replace_durably(path, b"new")

    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
