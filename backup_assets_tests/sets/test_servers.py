"""Which sets belong together, when one server follows another and when two write under one name."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from backup_assets.sets.manifest import RebuiltFacts
from backup_assets.sets.servers import ServerIdentity, series_of, server_of
from backup_assets_tests.sets.examples import NOW, a_manifest

#: A server on its timelines, a copy of it that was promoted, and others.
A1, A2, A3 = (ServerIdentity("7000", timeline) for timeline in (1, 2, 3))
STANDBY_OF_A = ServerIdentity("7000", None)
B1, C1 = ServerIdentity("8000", 1), ServerIdentity("9000", 1)
HISTORIES = st.lists(st.sampled_from([A1, A2, A3, B1, C1, STANDBY_OF_A, None]), max_size=25)


def of(*servers: ServerIdentity | None) -> list[int]:
    return series_of(servers)


def test_a_set_says_from_which_server_it_is() -> None:
    manifest = a_manifest()
    assert server_of(manifest) is None
    server = manifest.server.model_copy(update={"system_identifier": "7000", "timeline": 3})
    told = manifest.model_copy(update={"server": server})
    assert server_of(told) == A3
    assert str(server_of(told)) == "7000, timeline 3"
    assert str(STANDBY_OF_A) == "7000"
    rebuilt = RebuiltFacts(source="the automated backups of erp4", server="erp4-rebuild", dumped_at=NOW)
    assert server_of(told.model_copy(update={"rebuilt": rebuilt})) is None


def test_one_server_has_one_series_whether_or_not_its_older_sets_tell() -> None:
    assert of() == []
    assert of(None, None) == [0, 0]
    assert of(None, A1, None, A1) == [0, 0, 0, 0]


def test_a_server_that_replaces_another_goes_on_with_its_series() -> None:
    assert of(A1, A1, B1, B1, C1) == [0] * 5
    assert of(None, A1, None, B1) == [0] * 4


def test_a_failover_goes_on_with_the_series() -> None:
    assert of(A1, A1, A2, A3, A3) == [0] * 5


def test_a_standby_belongs_to_its_primary() -> None:
    assert of(A1, STANDBY_OF_A, A1, STANDBY_OF_A, A2) == [0] * 5
    assert of(STANDBY_OF_A, B1, STANDBY_OF_A, B1) == [0, 1, 0, 1]
    assert of(STANDBY_OF_A, B1, A1, B1, STANDBY_OF_A) == [0, 1, 0, 1, 0]


def test_two_servers_that_write_by_turns_have_a_series_each() -> None:
    assert of(A1, B1, A1, B1) == [0, 1, 0, 1]
    assert of(None, A1, A1, B1, None, A1) == [0, 0, 0, 1, 1, 0]


def test_a_promoted_copy_beside_the_original_has_a_series_of_its_own() -> None:
    assert of(A1, A2, A1, A2) == [0, 1, 0, 1]


def test_a_failover_beside_a_second_server_is_no_third_one() -> None:
    assert of(A1, B1, A1, A2, B1, A2) == [0, 1, 0, 0, 1, 0]


def test_what_follows_two_servers_goes_on_with_the_one_that_ended_last() -> None:
    assert of(A1, B1, A1, B1, C1) == [0, 1, 0, 1, 1]
    assert of(A1, B1, A1, B1, A2) == [0, 1, 0, 1, 0]


@given(HISTORIES)
def test_a_server_is_in_one_series_and_those_that_overlap_are_in_several(
    history: list[ServerIdentity | None],
) -> None:
    numbers = series_of(history)
    assert len(numbers) == len(history)
    places: dict[ServerIdentity, list[int]] = {}
    for place, server in enumerate(history):
        if server is not None and server.timeline is not None:
            places.setdefault(server, []).append(place)
    for found in places.values():
        assert len({numbers[place] for place in found}) == 1
    for one, first in places.items():
        for other, second in places.items():
            if one != other and max(first[0], second[0]) <= min(first[-1], second[-1]):
                assert numbers[first[0]] != numbers[second[0]]


@given(HISTORIES)
def test_series_are_numbered_as_they_begin_and_none_is_left_out(history: list[ServerIdentity | None]) -> None:
    begun = list(dict.fromkeys(series_of(history)))
    assert begun == sorted(begun)
    assert all(later - earlier == 1 for earlier, later in pairwise([-1, *begun]))
