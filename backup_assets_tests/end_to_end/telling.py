"""What was told in the course of a test: which alerts, on which day, and when was it over?"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Told:
    """One alert: on which day it arrived, what it is (`new`, `now worse`, `still`, `over`), and of what."""

    day: int
    at: datetime
    what: str
    title: str


def told_by(message: str, day: int, at: datetime, other_titles: Mapping[str, str] | None = None) -> Iterator[Told]:
    """Yield what a message tells; of more than ten alerts there is one line each, with a dash.

    ``other_titles`` are those in whose place another one is given.
    """
    for line in message.splitlines():
        found = re.fullmatch(r"(PROBLEM: |WARNING: |OVER: |- )(?:(still|now worse|over): )?(.*)", line)
        if found is not None:
            what = "over" if found[1] == "OVER: " else found[2] or "new"
            yield Told(day, at, what, (other_titles or {}).get(found[3], found[3]))


@dataclass(frozen=True)
class Episode:
    """A condition that was told: when for the first time, how often again, and when it was over."""

    title: str
    begun: datetime
    again: tuple[datetime, ...]
    over: datetime | None


def episodes(told: list[Told]) -> Iterator[Episode]:
    """Yield the conditions in the order in which they were told first."""
    by_title: dict[str, list[list[Told]]] = defaultdict(list)
    for one in told:
        if one.what == "new" or not by_title[one.title]:
            by_title[one.title].append([])
        by_title[one.title][-1].append(one)
    for title, all_of_it in by_title.items():
        for lines in all_of_it:
            ends = [line.at for line in lines if line.what == "over"]
            again = tuple(line.at for line in lines if line.what in ("still", "now worse"))
            assert [line.what for line in lines].count("new") == 1, lines
            assert len(ends) <= 1, lines
            yield Episode(title, lines[0].at, again, ends[0] if ends else None)
