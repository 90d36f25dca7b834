"""How does the report show what will be needed: sizes to come, and stores that fill up?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from xml.etree import ElementTree as ET

from backup_assets.watch.growth import Line, Range
from backup_assets.watch.report import MonthReport
from backup_assets.watch.report_charts import Band, curve
from backup_assets.watch.report_elements import Child, table, tag
from backup_assets.watch.report_verdict import StoreGrowth, size_line
from backup_assets.watch.report_words import Words

_AHEAD_DAYS = (0, 30, 90, 365)
_CHART_AHEAD_DAYS = 30.0
_FORESEEABLE_DAYS = 730


def growth_section(report: MonthReport, growth: Sequence[StoreGrowth], words: Words) -> list[ET.Element]:
    """Return what is said of the growth: one sentence where too little is known for more."""
    say, line = words.say, size_line(report)
    if line is None:
        return [tag("p", say("growth.none"))]
    low, likely, high = (words.bytes(slope * 30) for slope in (line.slope.low, line.slope.likely, line.slope.high))
    days = f"{line.days:.0f}"
    found = [tag("p", say("growth.text", n=line.points, days=days, likely=likely, low=low, high=high))]
    names = ("growth.when", "growth.likely", "growth.between")
    rows = [_row(line, ahead, words) for ahead in _AHEAD_DAYS]
    found.append(table([say(name) for name in names], rows, say("size")))
    for store in growth:
        found += _of_store(report, store, words)
    return [*found, tag("p", say("growth.method"), class_="note")]


def _row(line: Line, ahead: int, words: Words) -> Sequence[Child]:
    said = line.at(float(ahead))
    when = words.say("growth.in_days", n=ahead) if ahead else words.say("growth.today")
    return when, words.bytes(said.likely), _between(said, words)


def _between(said: Range, words: Words) -> str:
    return words.say("growth.range", low=words.bytes(said.low), high=words.bytes(said.high))


def _of_store(report: MonthReport, store: StoreGrowth, words: Words) -> Iterator[ET.Element]:
    say = words.say
    if store.full is not None and store.free_bytes is not None:
        free, likely = words.bytes(store.free_bytes), store.full.likely
        if likely is None or likely > _FORESEEABLE_DAYS:
            yield tag("p", say("growth.not_full", store=store.name, free=free))
        else:
            full = {"earliest": store.full.earliest, "likely": likely, "latest": store.full.latest}
            dates = {name: _in_days(report, days, words) for name, days in full.items()}
            yield tag("p", say("growth.full", store=store.name, free=free, **dates))
    if store.line is None:
        return
    points = [((moment - report.end) / timedelta(days=1), float(size)) for moment, size in store.totals]
    ahead = ((day, store.line.at(day)) for day in (0.0, _CHART_AHEAD_DAYS / 2, _CHART_AHEAD_DAYS))
    bands = [Band(day, said.low, said.likely, said.high) for day, said in ahead]
    days = ((points[0][0], words.day(store.totals[0][0])), (0.0, words.day(report.end)))
    labels = [*days, (_CHART_AHEAD_DAYS, words.day(report.end + timedelta(days=_CHART_AHEAD_DAYS)))]
    title = say("growth.chart", store=store.name)
    told = [
        f"{days[0][1]}: {words.bytes(points[0][1])}",
        f"{days[1][1]}: {words.bytes(points[-1][1])}",
        f"{say('growth.in_days', n=30)}: {_between(store.line.at(_CHART_AHEAD_DAYS), words)}",
    ]
    chart = curve(points, bands, labels, title, "; ".join(told), words.bytes)
    yield tag("figure", tag("figcaption", title), chart, tag("p", "; ".join(told), class_="note"))


def _in_days(report: MonthReport, days: float | None, words: Words) -> str:
    if days is None or days > 10 * _FORESEEABLE_DAYS:
        return words.say("growth.never")
    return words.day(report.made_at + timedelta(days=days))
