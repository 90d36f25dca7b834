"""Which sets of a database count: good ones, wherever they are?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from backup_assets.named_stores import LOCAL
from backup_assets.sets.record_order import believed, is_in_future
from backup_assets.sets.records import VerificationRecord
from backup_assets.settings import DatabaseSettings
from backup_assets.watch.alert_words import IN_ENGLISH, AlertWords
from backup_assets.watch.looking import Held, Look

#: A capture takes at least so long before anybody calls it late: the next look is not always at once.
LEAST_ALLOWANCE = timedelta(minutes=30)
_RECENT = 10
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Known:
    """What the stores say of a database at ``now``, and what follows for each set.

    A set is good in a store when it is complete there, its moment is not in the future, and it has not failed its
    last verification: that of this store's copy, or where that was never verified, of the local one. A verification
    that passed in the future is none. What follows is said in ``words``.
    """

    database: DatabaseSettings
    looks: tuple[Look, ...]
    now: datetime
    words: AlertWords = IN_ENGLISH

    @cached_property
    def _verdicts(self) -> dict[str, dict[str, VerificationRecord]]:
        all_records: dict[str, list[VerificationRecord]] = {}
        for look in self.looks:
            for one in look.sets:
                of_set = all_records.setdefault(one.id, [])
                of_set += one.verifications
        return {
            set_id: {record.store: record for record in believed(records, self.now)}
            for set_id, records in all_records.items()
        }

    def verdict(self, one: Held, look: Look) -> VerificationRecord | None:
        """Return the last verification that says something of a set in a store, or None."""
        verdicts = self._verdicts.get(one.id, {})
        return verdicts.get(look.name) or verdicts.get(LOCAL)

    def is_good(self, one: Held, look: Look) -> bool:
        """Return whether nothing is known against a set in a store."""
        verdict = self.verdict(one, look)
        in_future = is_in_future(one.taken_at, self.now)
        return not one.faults and not in_future and (verdict is None or verdict.passed)

    @cached_property
    def _good(self) -> dict[str, tuple[Held, ...]]:
        return {look.name: tuple(one for one in look.sets if self.is_good(one, look)) for look in self.looks}

    def good(self, look: Look) -> tuple[Held, ...]:
        """Return the good sets of a store, newest first."""
        return self._good[look.name]

    def newest(self, look: Look) -> Held | None:
        """Return the newest good set of a store."""
        return next(iter(self.good(look)), None)

    def proven(self, look: Look) -> Held | None:
        """Return the newest good set of a store that is proven by a restore."""
        return next((one for one in self.good(look) if one.verified is not None), None)

    @cached_property
    def all_good(self) -> tuple[Held, ...]:
        """Every set that is good in some store, once, newest first."""
        found = {one.id: one for sets in reversed(self._good.values()) for one in sets}
        return tuple(sorted(found.values(), key=lambda one: (one.taken_at, one.id), reverse=True))

    @property
    def newest_anywhere(self) -> Held | None:
        """The newest set that is good in some store."""
        return next(iter(self.all_good), None)

    def where(self, set_id: str) -> tuple[str, ...]:
        """Return the names of the stores in which a set is good."""
        return tuple(name for name, sets in self._good.items() if any(one.id == set_id for one in sets))

    def presumed(self, look: Look) -> Held | None:
        """Return the newest set that was copied to a store which does not answer now, as other stores recorded it."""
        if not look.error:
            return None
        return next((one for one in self.all_good if look.name in one.copied), None)

    @property
    def silent(self) -> tuple[Look, ...]:
        """The stores that do not answer."""
        return tuple(look for look in self.looks if look.error)

    @cached_property
    def allowance(self) -> timedelta:
        """How long a capture may take: twice the longest of the last ten, at least half an hour."""
        longest = max((one.capture_seconds for one in self.all_good[:_RECENT]), default=0.0)
        return max(LEAST_ALLOWANCE, timedelta(seconds=2 * longest))

    @property
    def limit(self) -> timedelta:
        """The age at which the newest set breaks the RPO: while a capture runs, the one before is still the newest."""
        return self.database.rpo_hours * HOUR + self.allowance

    @property
    def copy_limit(self) -> timedelta:
        """The same for a copy, which follows the capture."""
        return self.limit + self.allowance

    def age(self, one: Held) -> timedelta:
        """Return how old the moment is that a set shows; never negative, because clocks differ a little."""
        return max(self.now - one.taken_at, timedelta())

    def is_fresh(self, look: Look) -> bool:
        """Return whether a store holds a set that is young enough to be called a copy of today's data."""
        newest = self.newest(look)
        return newest is not None and self.age(newest) <= self.copy_limit

    def is_presumed_fresh(self, look: Look) -> bool:
        """Return whether a store that does not answer now held such a set when it last did."""
        presumed = self.presumed(look)
        return presumed is not None and self.age(presumed) <= self.copy_limit
