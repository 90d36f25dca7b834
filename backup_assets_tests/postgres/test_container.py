from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from backup_assets.errors import EnvironmentFault, TransientFault
from backup_assets.postgres.clients import has_zstd
from backup_assets.postgres.container import Container, container_fault
from backup_assets.process import ProgramFailed

BOX = Container("podman", "erp-db")
#: As docker 20.10, docker 28 and 29, and podman 4.3 say it.
SAID = (
    (1, "Error: No such container: erp-db", "there is no container erp-db"),
    (1, "Error response from daemon: No such container: erp-db", "there is no container erp-db"),
    (125, 'Error: no container with name or ID "erp-db" found: no such container', "there is no container erp-db"),
    (1, "Error response from daemon: Container 1f3 is not running", "the container erp-db is not running"),
    (1, "Error response from daemon: Container 1f3 is paused, unpause it first", "the container erp-db is not running"),
    (
        255,
        "Error: can only create exec sessions on running containers: container state improper",
        "the container erp-db is not running",
    ),
    (126, "", "pg_dump cannot be run"),
    (127, "sh: 1: pg_dump: not found", "pg_dump cannot be run"),
    (137, "", "pg_dump in container erp-db (podman) was killed"),
    (-9, "", "pg_dump in container erp-db (podman) was killed"),
    (
        1,
        "WARNING: Error loading config file: config.json\nError response from daemon: No such container: erp-db",
        "there is no container erp-db",
    ),
    (
        1,
        "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
        "the container engine podman does not work",
    ),
    (
        1,
        "failed to connect to the docker API at unix:///var/run/docker.sock; check if the path is correct and if the …",
        "the container engine podman does not work",
    ),
)


def failed(code: int, stderr: str) -> ProgramFailed:
    return ProgramFailed("podman failed", why=stderr or "it printed nothing", returncode=code, stderr=stderr)


@pytest.mark.parametrize(("code", "said", "what"), SAID)
def test_what_the_engine_says_is_told_in_words_of_the_settings(code: int, said: str, what: str):
    fault = container_fault(BOX, "pg_dump", failed(code, said))

    assert fault.what.startswith(what)
    assert "DB_CONTAINER" in fault.remedy
    assert not isinstance(fault, ProgramFailed)
    assert fault.why


@pytest.mark.parametrize(
    "said",
    [
        "pg_dump: error: query failed: ERROR:  permission denied for table t",
        "pg_dump: error: the job is not running",
        'ERROR:  55000: subscription "s" is not running',
        "ERROR: permission denied while trying to connect",
        "ERROR:  P0001: paused\nHINT:  no such container",
        "pg_restore: error: could not execute query: ERROR:  x\nCommand was: SELECT '\nError: no such container'",
    ],
    ids=["denied", "job", "a server's error", "another error", "a server's hint", "a statement that says Error"],
)
def test_what_a_program_says_stays_its_own_failure(said: str):
    fault = container_fault(BOX, "pg_dump", failed(1, said))

    assert isinstance(fault, ProgramFailed)
    assert (fault.what, fault.why) == ("pg_dump in container erp-db (podman) failed with exit status 1", said)
    assert fault.stderr == said


def test_what_may_be_over_soon_may_be_tried_again_and_a_wrong_name_not():
    assert isinstance(container_fault(BOX, "psql", failed(1, SAID[3][1])), TransientFault)
    assert not isinstance(container_fault(BOX, "psql", failed(1, SAID[0][1])), TransientFault)


def test_another_fault_is_left_as_it_is():
    fault = EnvironmentFault("podman ran longer than 5 s and was ended")

    assert container_fault(BOX, "pg_dump", fault) is fault


def in_a_shell(tmp_path: Path, *program: str) -> list[str]:
    """Return what the engine would run inside, with another program in the place of pg_dump."""
    (tmp_path / "pg_dump").write_text('#!/bin/sh\nexec "$@"\n')
    (tmp_path / "pg_dump").chmod(0o755)
    argv = BOX.argv({}, "pg_dump", *program)
    inside = argv[argv.index("erp-db") + 1 :]
    return [str(tmp_path / "pg_dump") if part == "pg_dump" else part for part in inside]


@pytest.mark.parametrize("status", [0, 1, 3])
def test_a_tethered_program_keeps_its_output_and_its_exit_status(tmp_path: Path, status: int):
    argv = in_a_shell(tmp_path, "sh", "-c", f"echo out; echo err >&2; exit {status}")

    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert (process.stdout.read(), process.stderr.read()) == (b"out\n", b"err\n")
        assert process.wait(60) == status


def test_a_tethered_program_ends_when_its_input_is_closed(tmp_path: Path):
    argv = in_a_shell(tmp_path, "sh", "-c", "echo started; exec sleep 300")

    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        process.stdin.close()
        assert process.stdout.read() == b""  # nobody holds the other end any more
        assert process.wait(60) == 128 + 15


def test_an_image_whose_programs_speak_another_language_is_understood(tmp_path: Path):
    engine = tmp_path / "engine"
    # As pg_dump 16 without zstd says it where the environment is Japanese.
    engine.write_text(
        "#!/bin/sh\n"
        '[ "$2 $3" = "-e LC_ALL=C" ] && said="this build does not support compression with zstd" '
        '|| said="このビルドでは zstd による圧縮をサポートしていません"\n'
        'echo "pg_dump: error: $said" >&2\nexit 1\n'
    )
    engine.chmod(0o755)

    assert not has_zstd(Container(str(engine), "erp-db").plain_argv("pg_dump"))
