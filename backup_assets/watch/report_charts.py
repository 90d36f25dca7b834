"""How do figures look as a static picture: SVG inside the page, without any script?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from xml.etree import ElementTree as ET

from backup_assets.watch.report_elements import tag

WIDTH, HEIGHT = 720.0, 190.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 10.0, 10.0, 26.0


@dataclass(frozen=True)
class Band:
    """How low and how high a value may be at a place."""

    x: float
    low: float
    likely: float
    high: float


def ticks(largest: float, wanted: int = 4) -> list[float]:
    """Return round values from nothing to ``largest`` or a little more."""
    if largest <= 0:
        return [0.0, 1.0]
    rough = largest / wanted
    power = 10.0 ** floor(log10(rough))
    step = next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= rough * 0.999)
    return [step * number for number in range(ceil(largest / step - 1e-9) + 1)]


def bars(values: Sequence[tuple[str, float | None]], title: str, text: str, told: Callable[[float], str]) -> ET.Element:
    """Return a bar for each label; None has no bar. ``title`` and ``text`` are for who cannot see it."""
    scale = ticks(max((value for _, value in values if value is not None), default=0.0))
    svg = _frame(title, text, scale, told)
    room = (WIDTH - _LEFT - _RIGHT) / max(1, len(values))
    every = 1 if len(values) <= 16 else 2
    for number, (label, value) in enumerate(values):
        left = _LEFT + number * room
        if value is not None:
            top = _y(value, scale)
            svg.append(
                tag(
                    "rect",
                    tag("title", f"{label}: {told(value)}"),
                    class_="bar",
                    x=_n(left + room * 0.12),
                    y=_n(top),
                    width=_n(room * 0.76),
                    height=_n(max(0.5, HEIGHT - _BOTTOM - top)),
                )
            )
        if number % every == 0:
            svg.append(tag("text", label, class_="tick", x=_n(left + room / 2), y=_n(HEIGHT - 9), text_anchor="middle"))
    return svg


def curve(
    points: Sequence[tuple[float, float]],
    bands: Sequence[Band],
    labels: Sequence[tuple[float, str]],
    title: str,
    text: str,
    told: Callable[[float], str],
) -> ET.Element:
    """Return what was as a line and what may come as a band with a dashed line; ``labels`` are those below."""
    largest = max([value for _, value in points] + [band.high for band in bands], default=0.0)
    scale = ticks(largest)
    svg = _frame(title, text, scale, told)
    places = [x for x, _ in points] + [band.x for band in bands]
    first, last = min(places), max(places)

    def x_of(value: float) -> float:
        return _LEFT + (value - first) / ((last - first) or 1.0) * (WIDTH - _LEFT - _RIGHT)

    if bands:
        upper = [(x_of(band.x), _y(band.high, scale)) for band in bands]
        lower = [(x_of(band.x), _y(band.low, scale)) for band in reversed(bands)]
        svg.append(tag("polygon", class_="band", points=_path([*upper, *lower])))
        likely = [(x_of(band.x), _y(band.likely, scale)) for band in bands]
        svg.append(tag("polyline", class_="likely", points=_path(likely)))
    svg.append(tag("polyline", class_="curve", points=_path([(x_of(x), _y(value, scale)) for x, value in points])))
    for place, label in labels:
        x = x_of(place)
        anchor = "start" if x < _LEFT + 20 else "end" if x > WIDTH - _RIGHT - 20 else "middle"
        svg.append(tag("text", label, class_="tick", x=_n(x), y=_n(HEIGHT - 9), text_anchor=anchor))
    return svg


def _frame(title: str, text: str, scale: Sequence[float], told: Callable[[float], str]) -> ET.Element:
    svg = tag("svg", tag("title", title), tag("desc", text), viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}", role="img")
    svg.set("aria-label", f"{title}. {text}")
    for value in scale:
        y = _y(value, scale)
        svg.append(tag("line", class_="grid", x1=_n(_LEFT), x2=_n(WIDTH - _RIGHT), y1=_n(y), y2=_n(y)))
        svg.append(tag("text", told(value), class_="tick", x=_n(_LEFT - 6), y=_n(y + 3.5), text_anchor="end"))
    return svg


def _y(value: float, scale: Sequence[float]) -> float:
    return HEIGHT - _BOTTOM - value / scale[-1] * (HEIGHT - _TOP - _BOTTOM)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{_n(x)},{_n(y)}" for x, y in points)


def _n(value: float) -> str:
    return f"{value:.1f}"
