"""How does the report of a month look as a page that needs nothing else: on a screen, on paper, read aloud?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

from backup_assets import __version__
from backup_assets.watch.report import Deletion, MonthReport, Promise
from backup_assets.watch.report_days import MOST_LINES, calendar, problem_slots, sizes
from backup_assets.watch.report_elements import Child, page_of, table, tag
from backup_assets.watch.report_growth import growth_section
from backup_assets.watch.report_verdict import (
    Finding,
    Verdict,
    findings,
    growth_of_stores,
    verdict,
)
from backup_assets.watch.report_words import TABLES, Language, Words

_STYLE = Path(__file__).with_name("report.css")
_CODE = re.compile("`([^`]+)`")


@dataclass(frozen=True)
class Page:
    """A report as a page: its verdict (``outcome``) and the one sentence for it, too."""

    outcome: Verdict
    sentence: str
    findings: tuple[Finding, ...]
    html: str


def page(report: MonthReport, language: Language) -> Page:
    """Return the page of a report; it asks nothing of a network and holds no script."""
    return _Writing(report, Words(language, report.timezone)).page()


class _Writing:
    def __init__(self, report: MonthReport, words: Words) -> None:
        self._report = report
        self._words = words
        self._growth = growth_of_stores(report)
        self._findings = findings(report, self._growth)
        self._verdict: Verdict = verdict(self._findings)

    def page(self) -> Page:
        report, say = self._report, self._words.say
        title = f"{say('title', database=report.database)}, {self._month()}"
        head = tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("title", title),
            tag("style", _STYLE.read_text(encoding="utf-8")),
        )
        sections = (
            ("next", self._next()),
            ("promises", self._promises()),
            ("calendar", [calendar(report, self._words), problem_slots(report, self._words)]),
            ("stores", self._stores()),
            ("restores", self._restores()),
            ("now", self._now() if report.is_recent else []),
            ("growth", growth_section(report, self._growth, self._words)),
            ("retention", self._retention()),
            ("sizes", [sizes(report, self._words)]),
        )
        main = tag("main")
        for name, content in sections:
            if content:
                main.append(tag("section", tag("h2", say(name)), *content, class_=name))
        body = tag("body", self._header(), main, self._footer())
        html = page_of(tag("html", head, body, lang=self._words.language))
        return Page(self._verdict, self._sentence(), self._findings, html)

    # -- the top -----------------------------------------------------------------------------------------------------

    def _header(self) -> ET.Element:
        report, say = self._report, self._words.say
        tier = say(f"tier.{report.tier}")
        return tag(
            "header",
            tag("span", self._month(), class_="month"),
            tag("h1", say("title", database=report.database)),
            tag("p", say("subtitle", env=report.env, tier=tier), class_="subtitle"),
            None if report.is_over else tag("p", say("so_far", at=self._words.time(report.end)), class_="note"),
            tag(
                "p",
                tag("strong", say(f"verdict.{self._verdict}")),
                " ",
                *_marked(self._sentence()),
                class_=f"verdict {self._verdict}",
            ),
            self._tiles(),
        )

    def _month(self) -> str:
        return self._words.say("month", month=date.fromisoformat(f"{self._report.month}-01"))

    def _sentence(self) -> str:
        say = self._words.say
        if self._findings:
            first = self._finding(self._findings[0])
            more = len(self._findings) - 1
            return say("sentence.more", sentence=first, n=more) if more else first
        gap = self._report.gap
        hours = self._words.hours(gap.hours) if gap else say("none")
        return say("sentence.good", n=len(self._report.slots) - self._report.count("due"), gap=hours)

    def _finding(self, finding: Finding) -> str:
        return self._words.say(f"finding.{finding.code}", **self._told(finding))

    def _told(self, finding: Finding) -> dict[str, object]:
        told: dict[str, object] = {}
        for name, value in finding.values.items():
            if name in ("hours", "wanted") and isinstance(value, int | float):
                told[name] = self._words.hours(value)
            elif isinstance(value, datetime):
                told[name] = self._words.day(value) if finding.code == "store_full" else self._words.time(value)
            elif name == "objective":
                told[name] = self._words.say(f"objective.{value}")
            else:
                told[name] = value
        return told

    def _tiles(self) -> ET.Element:
        report, say, words = self._report, self._words.say, self._words
        due = len(report.slots) - report.count("due")
        proven, got = report.count("verified"), report.count("verified", "taken")
        of = say("tile.slots.of", n=due, proven=proven)
        tiles = [_tile(str(got), say("tile.slots"), of, broken=got < due)]
        for name in ("rpo", "verified", "rto"):
            promise = report.promise(name)
            label = say("tile.proof" if name == "verified" else f"tile.{name}")
            measured = say("none") if promise.measured is None else words.hours(promise.measured)
            wanted = say("tile.wanted", wanted=words.hours(promise.wanted))
            tiles.append(_tile(measured, label, wanted, broken=promise.state == "broken"))
        return tag("ul", *tiles, class_="tiles")

    # -- the sections ------------------------------------------------------------------------------------------------

    def _next(self) -> list[ET.Element]:
        if not self._findings:
            return [tag("p", self._words.say("next.nothing"))]
        items = [
            tag(
                "li",
                tag("strong", *_marked(self._finding(finding))),
                tag("span", *_marked(self._words.say(f"action.{finding.code}")), class_="do"),
            )
            for finding in self._findings
        ]
        return [tag("ol", *items, class_="actions")]

    def _promises(self) -> list[ET.Element]:
        report, say = self._report, self._words.say
        rows = [
            (say(f"promise.{one.name}"), *self._of_promise(one), _state(one.state, say(f"state.{one.state}")))
            for one in report.promises
        ]
        found = [table(self._columns("promise", "measured", "wanted", "state"), rows)]
        if report.gap is not None:
            where = say("gap.where", since=self._words.time(report.gap.since), until=self._words.time(report.gap.until))
            more = f" {say('gap.at_most')}" if report.count("unknown") else ""
            found.append(tag("p", where + more, class_="note"))
        return found

    def _of_promise(self, promise: Promise) -> tuple[str, str]:
        if promise.name == "drill":
            say = self._words.say
            return (
                say("drills.count", n=f"{promise.measured or 0:.0f}"),
                say("drills.count", n=f"{promise.wanted:.0f}"),
            )
        measured = self._words.say("none") if promise.measured is None else self._words.hours(promise.measured)
        return measured, self._words.hours(promise.wanted)

    def _stores(self) -> list[ET.Element]:
        say, words = self._words.say, self._words
        rows: list[Sequence[Child]] = []
        for store in self._report.stores:
            kind = say(f"kind.{store.kind}")
            today = say("today.of", n=store.sets_today, size=words.bytes(store.bytes_today))
            rows.append(
                (
                    store.name,
                    say("off_site", kind=kind) if store.off_site else kind,
                    say("got.of", n=store.got, of=store.wanted),
                    say("none") if store.error else str(store.still_there),
                    say("none") if store.latest_hours is None else words.hours(store.latest_hours),
                    say("silent", error=store.error) if store.error else today,
                )
            )
        return [table(self._columns("store", "where", "got", "still", "latest", "today"), rows)]

    def _restores(self) -> list[ET.Element]:
        report, say, words = self._report, self._words.say, self._words
        trials = [one for one in report.verifications if one.level in ("restored", "drilled")]
        read = sum(one.passed for one in report.verifications if one.level in ("stored", "readable"))
        passed = sum(one.passed for one in trials)
        found = [tag("p", say("restores.text", passed=passed, failed=len(trials) - passed, read=read))]
        rows: list[Sequence[Child]] = []
        for drill in report.drills:
            result = say("passed") if drill.passed else say("not_passed", problem=str(drill.problems[0]))
            took = words.seconds(drill.total_seconds)
            rows.append((words.time(drill.at), say("drill"), drill.store, took, result))
        for restore in report.restores:
            result = say("passed") if restore.passed else say("not_passed", problem=str(restore.problems[0]))
            took = words.seconds(sum(restore.stages.values()))
            what = say("restore", database=f"{restore.database} ({restore.target})")
            rows.append((words.time(restore.at), what, say("none"), took, result))
        if not report.drills:
            found.append(tag("p", say("drills.none")))
        if not report.restores:
            found.append(tag("p", say("restores.none")))
        if rows:
            found.append(table(self._columns("when", "what", "from_store", "took", "result"), rows[:MOST_LINES]))
        return found

    def _now(self) -> list[ET.Element]:
        say = self._words.say
        rows = [
            (say(f"objective.{one.name}"), _state(one.state, say(f"objective.{one.state}")))
            for one in self._report.figures.objectives
        ]
        if not rows:
            return []
        return [table(self._columns("what", "state"), rows, say("now.text"))]

    def _retention(self) -> list[ET.Element]:
        report, say, words = self._report, self._words.say, self._words
        found: list[ET.Element] = [
            tag("p", say("retention.text", store=name, n=n, size=words.bytes(size)))
            for name, n, size in _by_store((one.store, one.size_bytes) for one in report.deletions)
        ] or [tag("p", say("retention.none"))]
        rows: list[Sequence[Child]] = [
            (words.time(one.at), one.store, one.set_id, "; ".join(self._reasons(one)))
            for one in report.deletions[:MOST_LINES]
        ]
        if len(report.deletions) > MOST_LINES:
            rows.append((say("and_more", n=len(report.deletions) - MOST_LINES), "", "", ""))
        if rows:
            found.append(table(self._columns("when", "store", "set", "reason"), rows, ids=2))
        found.append(tag("h3", say("holds")))
        if not report.held:
            return [*found, tag("p", say("holds.none"))]
        held = [(one.id, one.hold or "", ", ".join(one.stores)) for one in report.held[-MOST_LINES:]]
        return [*found, table(self._columns("set", "reason", "store"), held, ids=0)]

    def _reasons(self, deletion: Deletion) -> list[str]:
        known = TABLES[self._words.language]
        return [known.get(f"reason.{code}", code) for code in deletion.reasons]

    def _columns(self, *names: str) -> list[str]:
        return [self._words.say(name) for name in names]

    def _footer(self) -> ET.Element:
        report, say = self._report, self._words.say
        lines = [say("limits.made", at=self._words.time(report.made_at), zone=report.timezone)]
        if unknown := report.count("unknown"):
            lines.append(say("limits.unknown", n=unknown))
        if report.damaged_notes:
            lines.append(say("limits.notes", n=len(report.damaged_notes)))
        lines += [say("limits.silent", store=store.name) for store in report.stores if store.error]
        if any(store.kind == "s3" for store in report.stores):
            lines.append(say("limits.bucket"))
        lines.append(say("limits.hand"))
        return tag(
            "footer",
            tag("h2", say("limits")),
            tag("ul", *(tag("li", line) for line in lines)),
            tag("p", f"backup_assets {__version__}"),
        )


def _tile(figure: str, label: str, of: str, *, broken: bool) -> ET.Element:
    return tag("li", tag("b", figure), label, tag("span", of, class_="of"), class_="broken" if broken else "kept")


def _state(state: str, text: str) -> ET.Element:
    return tag("span", text, class_=f"state {state}")


def _marked(text: str) -> Iterator[Child]:
    """Yield a sentence of ours with what stands between backquotes as code."""
    for number, part in enumerate(_CODE.split(text)):
        if part:
            yield tag("code", part) if number % 2 else part


def _by_store(deleted: Iterable[tuple[str, int]]) -> list[tuple[str, int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for name, size in deleted:
        n, total = found.get(name, (0, 0))
        found[name] = (n + 1, total + size)
    return [(name, n, total) for name, (n, total) in found.items()]
