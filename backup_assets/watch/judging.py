"""What is wrong with a database by its stores, as far as they answer in the time that a look has?"""

from __future__ import annotations

from datetime import datetime
from time import monotonic

from backup_assets.errors import BackupError
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.watch.alert_words import AlertWords
from backup_assets.watch.conditions import Facts, Found, conditions_of, no_facts, not_measured
from backup_assets.watch.facts import facts_of
from backup_assets.watch.figures import DatabaseFigures
from backup_assets.watch.looking import ANSWER_SECONDS
from backup_assets.watch.measuring import measure
from backup_assets.watch.patience import Patience
from backup_assets.watch.troubles import Judged

#: A look at the stores that has gone on for so long is told.
SILENT_SECONDS = 600.0

#: Apart, so that what hangs in the second does not keep what was measured from being judged.
_measuring: Patience[DatabaseFigures] = Patience()
_looking_further: Patience[Facts] = Patience()


class Judging:
    """The stores of all databases during one look.

    ``problems`` are what could not be looked at, one sentence each; ``unjudged`` the databases about whose backups
    nothing is known in this look, whether that is a problem yet or not.
    """

    def __init__(self, settings: Settings, now: datetime, words: AlertWords, silent_seconds: float) -> None:
        self._settings = settings
        self._now = now
        self._words = words
        self._silent_seconds = silent_seconds
        self.problems: list[str] = []
        self.unjudged: list[str] = []

    def begin(self) -> None:
        """Begin to look at the stores of every database at the same time."""
        for database in self._settings.databases:
            _measuring.ask(self._key(database), lambda database=database: self._measured(database))

    def found(self, database: DatabaseSettings, runs: Judged, end: float) -> Found:
        """Return what is wrong; waits for the stores until ``end`` (of the monotonic clock)."""
        try:
            figures, seconds = _measuring.answer(self._key(database), end - monotonic())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and the other databases too
            return self._not_measured(database, self._failed(database, error), runs)
        if figures is None:
            why = self._silence("not_measured.cause", database, seconds)
            return self._not_measured(database, why, runs)
        return conditions_of(
            figures,
            runs.open,
            self._facts(database, end),
            self._now,
            ended=runs.ended,
            ui_url=self._settings.watch.ui_url,
            words=self._words,
        )

    def _key(self, database: DatabaseSettings) -> tuple[object, ...]:
        return (self._settings.backup_dir, self._settings.env, database.name)

    def _measured(self, database: DatabaseSettings) -> DatabaseFigures:
        figures = measure(database, self._settings, self._now, seconds=ANSWER_SECONDS, words=self._words)
        # One that denies this role its documents is not slow, and whether it keeps what is held can be asked.
        silent = {store.name: store.error for store in figures.stores if store.error and not store.denied}
        # Not before: what was read of a store far away is at hand now, and which stores do not answer is known.
        _looking_further.ask(self._key(database), lambda: facts_of(database, self._settings, silent))
        return figures

    def _facts(self, database: DatabaseSettings, end: float) -> Facts:
        try:
            facts, seconds = _looking_further.answer(self._key(database), end - monotonic())
        except Exception as error:  # noqa: BLE001 - as above
            return no_facts(self._failed(database, error))
        return facts or no_facts(self._silence("not_measured.facts.cause", database, seconds))

    def _failed(self, database: DatabaseSettings, error: Exception) -> str:
        why = " ".join(str(error).split())
        if not isinstance(error, (BackupError, OSError)):
            why = f"{type(error).__name__}: {why}"
        self.problems.append(f"{database.name} cannot be measured: {why}")
        return why

    def _silence(self, key: str, database: DatabaseSettings, seconds: float) -> str:
        """Return what is to be told of a look that has not ended, nothing while it may still."""
        if seconds < self._silent_seconds:
            return ""
        why = self._words.say(key, database=database.name, n=f"{seconds / 60:.0f}")
        self.problems.append(why)
        return why

    def _not_measured(self, database: DatabaseSettings, why: str, runs: Judged) -> Found:
        self.unjudged.append(database.name)
        return not_measured(
            database.name,
            why,
            runs.open,
            self._now,
            ended=runs.ended,
            ui_url=self._settings.watch.ui_url,
            words=self._words,
        )
