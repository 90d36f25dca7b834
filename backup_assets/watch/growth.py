"""How do sizes grow, and when will a store be full, as far as an honest straight line can say?"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

#: With fewer points, or over a shorter time, a line says nothing.
LEAST_POINTS = 5
LEAST_DAYS = 7.0


@dataclass(frozen=True)
class Range:
    """A value with how low and how high it may well be."""

    low: float
    likely: float
    high: float


@dataclass(frozen=True)
class Line:
    """A straight line through points (days, bytes).

    ``slope`` is in bytes a day. Its range holds the slopes of the whole time and of its two halves, each with twice
    its standard error: points that follow each other are not independent, and the error of one fit alone would claim
    too much. ``last`` is the fitted value at ``last_day``, ``scatter`` the standard deviation of the points around it.
    """

    slope: Range
    last_day: float
    last: float
    scatter: float
    points: int
    days: float

    def at(self, day: float) -> Range:
        """Return what the line says of a day, never less than nothing."""
        ahead = day - self.last_day
        # Before the last point the steeper slope gives the lower value.
        ends = sorted((self.last + self.slope.low * ahead, self.last + self.slope.high * ahead))
        likely = self.last + self.slope.likely * ahead
        spread = 2 * self.scatter
        return Range(max(0.0, ends[0] - spread), max(0.0, likely), max(0.0, ends[1] + spread))


@dataclass(frozen=True)
class Full:
    """In how many days a store is full: at the earliest, probably, and at the latest; None: not foreseeable."""

    earliest: float | None
    likely: float | None
    latest: float | None


def line_through(points: Sequence[tuple[float, float]]) -> Line | None:
    """Return the line through points (days, bytes) in the order of their days, or None when they are too few."""
    if len(points) < LEAST_POINTS or points[-1][0] - points[0][0] < LEAST_DAYS:
        return None
    slope, intercept, error, scatter = _fit(points)
    slopes = [(slope, error)]
    middle = len(points) // 2
    for half in (points[:middle], points[middle:]):
        if len(half) >= LEAST_POINTS and half[0][0] < half[-1][0]:
            of_half, _, error_of_half, _ = _fit(half)
            slopes.append((of_half, error_of_half))
    last_day = points[-1][0]
    return Line(
        slope=Range(min(s - 2 * e for s, e in slopes), slope, max(s + 2 * e for s, e in slopes)),
        last_day=last_day,
        last=intercept + slope * last_day,
        scatter=scatter,
        points=len(points),
        days=last_day - points[0][0],
    )


def full_after(line: Line, free_bytes: float) -> Full:
    """Return in how many days so many free bytes are used up."""
    slope = line.slope
    return Full(*(free_bytes / each if each > 0 else None for each in (slope.high, slope.likely, slope.low)))


def _fit(points: Sequence[tuple[float, float]]) -> tuple[float, float, float, float]:
    """Return slope, intercept, standard error of the slope, and standard deviation of the residuals."""
    days, values = [day for day, _ in points], [value for _, value in points]
    slope, intercept = statistics.linear_regression(days, values)
    residuals = sum((value - intercept - slope * day) ** 2 for day, value in points)
    scatter = sqrt(residuals / (len(points) - 2))
    mean = statistics.fmean(days)
    return slope, intercept, scatter / sqrt(sum((day - mean) ** 2 for day in days)), scatter
