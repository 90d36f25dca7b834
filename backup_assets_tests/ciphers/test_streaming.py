from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest

from backup_assets.ciphers.streaming import created, pass_through, require_program
from backup_assets.errors import EnvironmentFault, Refused
from backup_assets.process import ProgramFailed
from backup_assets_tests.ciphers.keys import MEGABYTE, random_file


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return random_file(tmp_path / "source", 3 * MEGABYTE + 5)


def passed(script: str, source: Path, target: Path):
    with created(target) as output:
        return pass_through(["sh", "-c", script], source, output)


def test_both_sides_are_hashed_while_they_pass(source: Path, tmp_path: Path):
    result = passed("tr a-z A-Z", source, tmp_path / "target")

    before, after = source.read_bytes(), (tmp_path / "target").read_bytes()
    assert after != before
    assert (result.sha256_in, result.size_in) == (hashlib.sha256(before).hexdigest(), len(before))
    assert (result.sha256_out, result.size_out) == (hashlib.sha256(after).hexdigest(), len(after))


def test_a_program_that_prints_much_before_it_reads_does_not_block(source: Path, tmp_path: Path):
    result = passed("head -c 5000000 /dev/zero; cat > /dev/null", source, tmp_path / "target")

    assert (result.size_in, result.size_out) == (source.stat().st_size, 5_000_000)


def test_a_program_that_fails_leaves_no_target_and_its_last_words(source: Path, tmp_path: Path):
    with pytest.raises(ProgramFailed, match="status 7") as caught:
        passed("head -c 100000; echo the last words >&2; exit 7", source, tmp_path / "target")

    assert caught.value.why == "the last words"
    assert not (tmp_path / "target").exists()


def test_a_program_that_stops_reading_and_is_content_is_not_believed(source: Path, tmp_path: Path):
    with pytest.raises(EnvironmentFault, match="sh ended before it had read all of"):
        passed("head -c 100000", source, tmp_path / "target")

    assert not (tmp_path / "target").exists()


def test_a_program_that_closes_its_output_still_gets_all_its_input(source: Path, tmp_path: Path):
    result = passed(f"exec >&-; cat > {tmp_path}/taken", source, tmp_path / "target")

    assert (tmp_path / "taken").read_bytes() == source.read_bytes()
    assert result.size_out == 0


def test_a_new_file_is_private_and_stays_when_all_went_well(tmp_path: Path):
    with created(tmp_path / "target") as output:
        output.write(b"content")

    assert (tmp_path / "target").read_bytes() == b"content"
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == 0o600


def test_a_new_file_is_removed_when_anything_goes_wrong(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt), created(tmp_path / "target") as output:
        output.write(b"content")
        raise KeyboardInterrupt

    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_refused_and_left_alone(tmp_path: Path):
    (tmp_path / "target").write_bytes(b"before")

    with pytest.raises(Refused, match="exists already"), created(tmp_path / "target"):
        pass

    assert (tmp_path / "target").read_bytes() == b"before"


def test_a_directory_that_is_missing_is_a_fault_that_names_it(tmp_path: Path):
    missing = tmp_path / "nowhere" / "target"

    with pytest.raises(EnvironmentFault, match=r"could not create target in .*nowhere"), created(missing):
        pass


def test_a_source_that_is_missing_is_a_fault_that_names_it(tmp_path: Path):
    with pytest.raises(EnvironmentFault, match="could not read source") as caught:
        passed("cat", tmp_path / "source", tmp_path / "target")

    assert str(tmp_path / "source") in caught.value.why


def test_a_missing_program_says_what_to_install():
    with pytest.raises(EnvironmentFault, match="the program nonexistent was not found") as caught:
        require_program("nonexistent", package="gnupg", setting="GPG_PROGRAM")

    assert caught.value.remedy == "install it (`apt-get install gnupg`), or give its path in GPG_PROGRAM"
