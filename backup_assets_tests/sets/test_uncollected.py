"""The pause of the garbage collector: it ends, whatever happens, and with the last of several."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from backup_assets.sets.uncollected import uncollected


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    assert gc.isenabled()
    yield
    gc.enable()


def test_the_collector_is_off_inside_and_on_again_after_an_error() -> None:
    with pytest.raises(ValueError, match="damaged"), uncollected():
        assert not gc.isenabled()
        raise ValueError("damaged")
    assert gc.isenabled()


def test_of_blocks_that_overlap_the_last_one_to_end_switches_it_on() -> None:
    first, second = uncollected(), uncollected()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not gc.isenabled()
    second.__exit__(None, None, None)
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    with uncollected():
        pass
    assert not gc.isenabled()


def test_what_was_made_in_a_block_is_not_walked_through_after_it() -> None:
    with uncollected():
        made = [[] for _ in range(100_000)]
    assert len(made) == 100_000
    # Only a full collection walks through the oldest generation.
    assert len(gc.get_objects(generation=0)) + len(gc.get_objects(generation=1)) < 50_000
    assert gc.get_freeze_count() == 0  # and still found by a full collection, once it is garbage
