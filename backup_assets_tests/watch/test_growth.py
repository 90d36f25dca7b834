from __future__ import annotations

import random

import pytest

from backup_assets.watch.growth import full_after, line_through

GB = 1e9


def test_a_straight_line_is_found_and_carried_on():
    line = line_through([(day, 10 * GB + day * GB) for day in range(30)])

    assert line is not None
    assert line.slope.likely == pytest.approx(GB)
    assert line.at(59).likely == pytest.approx(69 * GB)
    assert (line.points, line.days) == (30, 29)
    assert full_after(line, 100 * GB).likely == pytest.approx(100)


def test_the_range_holds_what_really_comes():
    inside = 0
    for seed in range(50):
        noise = random.Random(seed)
        line = line_through([(day, 10 + 0.1 * day + noise.gauss(0, 0.3)) for day in range(30)])
        assert line is not None
        said = line.at(60)
        inside += said.low <= 16 <= said.high
    assert inside >= 47


def test_growth_that_changed_within_the_month_widens_the_range():
    bent = [(float(day), 10.0 if day < 15 else 10.0 + day - 15) for day in range(30)]
    line = line_through(bent)

    assert line is not None
    assert line.slope.low <= 0
    assert line.slope.high >= 1


def test_what_does_not_grow_is_never_full():
    line = line_through([(float(day), 5.0) for day in range(20)])

    assert line is not None
    full = full_after(line, 10)
    assert (full.earliest, full.likely, full.latest) == (None, None, None)


def test_what_shrinks_is_never_less_than_nothing():
    line = line_through([(float(day), 100.0 - day) for day in range(20)])

    assert line is not None
    assert line.at(1000).likely == 0


@pytest.mark.parametrize("points", [[], [(float(d), 1.0) for d in range(4)], [(d / 10, 1.0) for d in range(50)]])
def test_too_few_points_or_too_short_a_time_say_nothing(points: list[tuple[float, float]]):
    assert line_through(points) is None
