"""What does the report show of each day: its marks, its sizes and its times?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from xml.etree import ElementTree as ET

from backup_assets.watch.known_sets import KnownSet
from backup_assets.watch.month_slots import SlotLine, SlotState
from backup_assets.watch.report import MonthReport
from backup_assets.watch.report_charts import bars
from backup_assets.watch.report_elements import tag
from backup_assets.watch.report_words import Words

#: Told apart without colours too.
MARKS: dict[SlotState, str] = {
    "verified": "✓",
    "taken": "○",
    "failed": "!",
    "missed": "×",
    "unknown": "?",
    "due": "·",
}
#: Lines of a table that a reader still reads.
MOST_LINES = 40


@dataclass(frozen=True)
class Day:
    """One day: its slots, and the best set of its last slot that has one."""

    day: date
    slots: tuple[SlotLine, ...]

    @property
    def sets(self) -> tuple[KnownSet, ...]:
        """The best set of each slot, oldest first."""
        return tuple(slot.best for slot in self.slots if slot.best is not None)


def days_of(report: MonthReport) -> tuple[Day, ...]:
    """Return the days of the month that have a slot."""
    by_day: dict[date, list[SlotLine]] = {}
    for slot in report.slots:
        by_day.setdefault(slot.day, []).append(slot)
    return tuple(Day(day, tuple(slots)) for day, slots in sorted(by_day.items()))


def calendar(report: MonthReport, words: Words) -> ET.Element:
    """Return the month as weeks from Monday on, with a mark for each slot."""
    first = date.fromisoformat(f"{report.month}-01")
    after = (first + timedelta(days=31)).replace(day=1)
    by_day = {day.day: day for day in days_of(report)}
    head = tag("tr", *(tag("th", name, scope="col") for name in words.say("weekdays").split()))
    body = tag("tbody")
    day = first - timedelta(days=first.weekday())
    while day < after:
        row = tag("tr")
        for _ in range(7):
            row.append(_cell(day, by_day.get(day), words) if first <= day < after else tag("td", class_="other"))
            day += timedelta(days=1)
        body.append(row)
    legend = tag("ul", class_="legend")
    for state, mark in MARKS.items():
        count = tag("strong", f" {report.count(state)}")
        legend.append(tag("li", _mark(state, mark, ""), f" {words.say(f'slot.{state}')}:", count))
    return tag(
        "div",
        tag("table", tag("caption", words.say("calendar.text", zone=report.timezone)), tag("thead", head), body,
            class_="month"),
        legend,
        class_="whole",
    )  # fmt: skip


def problem_slots(report: MonthReport, words: Words) -> ET.Element | None:
    """Return a table of the slots that are not as they should be, or None."""
    wrong = [slot for slot in report.slots if slot.state in ("failed", "missed", "unknown")]
    if not wrong:
        return None
    rows = [
        tag("tr", tag("td", slot.key), tag("td", _mark(slot.state, MARKS[slot.state], ""), " ",
            words.say(f"slot.{slot.state}")), tag("td", slot.best.id if slot.best else words.say("none")))
        for slot in wrong[:MOST_LINES]
    ]  # fmt: skip
    if len(wrong) > MOST_LINES:
        rows.append(tag("tr", tag("td", words.say("and_more", n=len(wrong) - MOST_LINES), colspan=3)))
    names = ("slot", "what_became", "set")
    head = tag("tr", *(tag("th", words.say(name), scope="col") for name in names))
    return tag(
        "table", tag("caption", words.say("problem_slots")), tag("thead", head), tag("tbody", *rows), class_="list"
    )


def sizes(report: MonthReport, words: Words) -> ET.Element:
    """Return the charts of sizes and durations with the table of all days."""
    days = days_of(report)
    size = [(str(day.day.day), float(day.sets[-1].size_bytes) if day.sets else None) for day in days]
    took = [(str(day.day.day), max(s.capture_seconds for s in day.sets) if day.sets else None) for day in days]
    names = ("day", "backups", "size", "took", "proven", "copies")
    head = tag("tr", *(tag("th", words.say(name), scope="col") for name in names))
    rows = [_day_row(day, words) for day in days]
    return tag(
        "div",
        _chart(size, "chart.size", words),
        _chart(took, "chart.seconds", words),
        tag("table", tag("caption", words.say("sizes")), tag("thead", head), tag("tbody", *rows), class_="list days"),
    )


def _chart(values: Sequence[tuple[str, float | None]], name: str, words: Words) -> ET.Element:
    say = words.bytes if name == "chart.size" else words.seconds
    known = [value for _, value in values if value is not None] or [0.0]
    text = words.say(
        "chart.text",
        n=sum(value is not None for _, value in values),
        low=say(min(known)),
        high=say(max(known)),
        last=say(known[-1]),
    )
    title = words.say(name)
    return tag("figure", tag("figcaption", title), bars(values, title, text, say))


def _day_row(day: Day, words: Words) -> ET.Element:
    best = day.sets
    proven = sum(slot.state == "verified" for slot in day.slots)
    stores = sorted({store for one in best for store in one.copied})
    none = words.say("none")
    return tag(
        "tr",
        tag("th", day.day.isoformat(), scope="row"),
        tag("td", words.say("got.of", n=len(best), of=len(day.slots)), class_="number"),
        tag("td", words.bytes(best[-1].size_bytes) if best else none, class_="number"),
        tag("td", words.seconds(max(one.capture_seconds for one in best)) if best else none, class_="number"),
        tag("td", str(proven), class_="number"),
        tag("td", ", ".join(stores) or none),
    )


def _cell(day: date, known: Day | None, words: Words) -> ET.Element:
    marks = tag("div", class_="marks")
    for slot in known.slots if known else ():
        marks.append(_mark(slot.state, MARKS[slot.state], f"{slot.key}: {words.say(f'slot.{slot.state}')}"))
    return tag("td", tag("span", str(day.day), class_="date"), marks)


def _mark(state: SlotState, mark: str, label: str) -> ET.Element:
    if not label:
        return tag("span", mark, class_=f"mark {state}", aria_hidden="true")
    return tag("span", mark, class_=f"mark {state}", role="img", aria_label=label, title=label)
