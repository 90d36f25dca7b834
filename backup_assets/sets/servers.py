"""Which sets are of one and the same server, when several have written under one name?

A server follows another when it is moved, upgraded or failed over to: the sets of the former end before those of the
latter begin, and all of them are one series. Where they overlap, two servers are backed up under one name, for example
a copy of the production that runs with its settings: then the sets of each are a series of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from backup_assets.sets.manifest import Manifest


class ServerIdentity(NamedTuple):
    """What tells servers apart; a physical copy has the same system identifier, and once promoted another timeline."""

    system_identifier: str
    timeline: int | None

    def __str__(self) -> str:
        """Return it as it is shown."""
        return self.system_identifier + (f", timeline {self.timeline}" if self.timeline is not None else "")


def server_of(manifest: Manifest) -> ServerIdentity | None:
    """Return the server that a set was taken from; None where nobody knows: then it belongs to what is beside it.

    A rebuilt set was dumped from a server that lived for that alone: it stands for the one that it was restored from.
    """
    server = manifest.server
    if server.system_identifier is None or manifest.rebuilt is not None:
        return None
    return ServerIdentity(server.system_identifier, server.timeline)


def series_of(oldest_first: Sequence[ServerIdentity | None]) -> list[int]:
    """Return for each set, given by its server, the number of its series: 0, 1, …."""
    known = {identity for identity in oldest_first if identity is not None}
    if len(known) < 2:  # the usual case, also for a hundred thousand sets
        return [0] * len(oldest_first)
    whole = list(_with_timelines(oldest_first))
    numbers = _numbers(whole)
    number = next(numbers[identity] for identity in whole if identity is not None)
    found: list[int] = []
    for identity in whole:
        number = number if identity is None else numbers[identity]
        found.append(number)
    return found


def _with_timelines(oldest_first: Sequence[ServerIdentity | None]) -> Iterator[ServerIdentity | None]:
    """Yield each server with its timeline: of a standby, which tells none, that of its system before it, or after."""
    timelines: dict[str, int] = {}
    for one in reversed(oldest_first):
        if one is not None and one.timeline is not None:
            timelines[one.system_identifier] = one.timeline
    for one in oldest_first:
        if one is None:
            yield None
            continue
        if one.timeline is not None:
            timelines[one.system_identifier] = one.timeline
        yield ServerIdentity(one.system_identifier, timelines.get(one.system_identifier))


def _numbers(oldest_first: Iterable[ServerIdentity | None]) -> dict[ServerIdentity, int]:
    """Return the series of each server: that of one whose last set is older than its own first, else a new one."""
    first: dict[ServerIdentity, int] = {}
    last: dict[ServerIdentity, int] = {}
    for place, identity in enumerate(oldest_first):
        if identity is not None:
            first.setdefault(identity, place)
            last[identity] = place
    ends: dict[int, ServerIdentity] = {}
    numbers: dict[ServerIdentity, int] = {}
    for identity in first:
        over = [number for number, end in ends.items() if last[end] < first[identity]]

        def likeliest(number: int, system: str = identity.system_identifier) -> tuple[bool, int]:
            # The same system on its next timeline; else what ended last is what was replaced.
            return ends[number].system_identifier == system, last[ends[number]]

        chosen = max(over, key=likeliest, default=len(ends))
        ends[chosen] = identity
        numbers[identity] = chosen
    return numbers
