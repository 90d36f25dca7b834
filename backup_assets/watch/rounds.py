"""One look of the watch: what is wrong, who has to be told, and did they hear it?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic

from backup_assets.errors import BackupError
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.watch.alert_words import words_of
from backup_assets.watch.alerts import Alert, decide, delivered, due, remembered
from backup_assets.watch.channels import SEND_SECONDS, Channel, channels_of, send
from backup_assets.watch.conditions import THE_WATCH, Condition, Found, key_of
from backup_assets.watch.heartbeat import ping
from backup_assets.watch.judging import SILENT_SECONDS, Judging
from backup_assets.watch.memory import Cursor, Remembered, one_at_a_time, recall, remember
from backup_assets.watch.messages import letter_of
from backup_assets.watch.runs import RunsRead, unreadable
from backup_assets.watch.troubles import Judged, after
from backup_assets.watch.waiting import told_in_time

#: Dagster ends a sensor's look after 60 s: all databases are measured at once, and waited for so long.
MEASURED_WITHIN_SECONDS = 25.0

#: Reads the runs of a database (its name, the cursor, the time) that ended since the last look.
RunsReader = Callable[[str, Cursor, datetime], RunsRead]


@dataclass(frozen=True)
class Round:
    """What a look found and did.

    ``conditions`` hold now; ``announced`` are those that were told, or would be if there was a channel. ``problems``
    are what the watch itself could not do, one sentence each. ``pinged`` says whether the heartbeat was sent.
    ``unjudged`` are the databases whose stores have not answered: whether anything is wrong with them is not known.
    """

    conditions: tuple[Condition, ...]
    announced: tuple[Alert, ...]
    problems: tuple[str, ...]
    pinged: bool
    unjudged: tuple[str, ...] = ()


@dataclass
class _Subject:
    """A database, or the watch itself, during one look."""

    name: str
    memory: Remembered
    alerts: tuple[Alert, ...] = ()
    found: Found = field(default_factory=Found)


@dataclass
class _Delivery:
    """What became of the messages of one look, by channel."""

    reached: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)


def make_round(
    settings: Settings,
    now: datetime,
    read_runs: RunsReader | None,
    *,
    seconds: float = MEASURED_WITHIN_SECONDS,
    silent_seconds: float = SILENT_SECONDS,
) -> Round:
    """Look at every database once, tell what is to be told, and send the heartbeat when that worked.

    ``read_runs`` left out: Dagster is not asked. Stores that take longer than ``seconds`` answer the next look, and are
    a problem after ``silent_seconds``: 0 where no later look of this process would tell it. Raises Refused while
    another look goes on. Nothing is lost by a look that fails: what is not delivered stays due.
    """
    with one_at_a_time(settings):
        return _Round(settings, now, channels_of(settings), silent_seconds).make(read_runs, seconds)


class _Round:
    def __init__(self, settings: Settings, now: datetime, channels: Sequence[Channel], silent_seconds: float) -> None:
        self._settings = settings
        self._now = now
        self._channels = channels
        self._words = words_of(settings)
        self._judging = Judging(settings, now, self._words, silent_seconds)
        self._reminder = timedelta(hours=settings.watch.reminder_hours)
        #: What could not be looked at or remembered, and which channels or heartbeat failed.
        self._unable: list[str] = []
        self._unheard: list[str] = []

    def make(self, read_runs: RunsReader | None, seconds: float) -> Round:
        self._judging.begin()
        end = monotonic() + seconds
        subjects = [self._look(database, read_runs, end) for database in self._settings.databases]
        announced = tuple(alert for one in subjects for alert in one.alerts if alert.announced_at == self._now)
        # Before anything is sent as well: a look that is killed now tells the next one what is still due.
        self._save(subjects, first=True)
        delivery = self._deliver(subjects)
        self._save(subjects)
        pinged, heartbeat = self._ping(subjects)
        watch = self._look_at_itself(delivery, heartbeat)
        itself = tuple(alert for alert in watch.alerts if alert.announced_at == self._now)
        self._deliver([watch])
        self._save([watch])
        conditions = tuple(condition for one in (*subjects, watch) for condition in one.found.conditions)
        problems = (*self._judging.problems, *self._unable, *self._unheard)
        return Round(conditions, (*announced, *itself), problems, pinged, tuple(self._judging.unjudged))

    def _recall(self, name: str) -> Remembered:
        try:
            memory, damage = recall(self._settings, name)
        except OSError as error:
            self._unable.append(f"what was told before cannot be read: {error}; it may be told again")
            return Remembered()
        if damage:
            self._unable.append(damage)
        return memory

    def _look(self, database: DatabaseSettings, read_runs: RunsReader | None, end: float) -> _Subject:
        name = database.name
        memory = self._recall(name)
        memory, runs, unread = self._read(database, read_runs, memory)
        found = self._judging.found(database, runs, end)
        found = Found(
            (*found.conditions, *unread.conditions), (*found.undecided, *unread.undecided), found.dropped
        )  # fmt: skip
        found, waiting = told_in_time(found, memory.waiting, self._now)
        # Told no longer, and so remembered no longer.
        troubles = tuple(one for one in runs.open if not one.is_forgotten(self._now))
        memory = memory.model_copy(update={"troubles": troubles, "waiting": waiting})
        return _Subject(name, memory, decide(memory.alerts, found, self._now, self._reminder), found)

    def _read(
        self, database: DatabaseSettings, read_runs: RunsReader | None, memory: Remembered
    ) -> tuple[Remembered, Judged, Found]:
        """Return what is remembered and in trouble after the runs since, and what is wrong with the runs themselves."""
        # Whatever has failed before has not ended because nothing can be read.
        as_before, unknown = Judged(memory.troubles, ()), (key_of(database.name, "rds_unwatched"),)
        if read_runs is None:
            return memory, as_before, Found(undecided=unknown)
        try:
            read = read_runs(database.name, memory.cursor, self._now)
        except Exception as raised:  # noqa: BLE001 - whatever it is, the stores are to be told of all the same
            error = raised if isinstance(raised, BackupError) else unreadable(raised)
            self._unable.append(error.what + (f": {error.why}" if error.why else ""))
            condition = Condition(
                database.name,
                "runs_unread",
                "",
                "error",
                title=self._words.say("runs_unread.title"),
                cause=error.why,
                remedy=self._words.say("runs_unread.remedy"),
            )
            return memory, as_before, Found((condition,), unknown)
        found = Found(read.conditions)
        return memory.model_copy(update={"cursor": read.cursor}), after(memory.troubles, read.runs), found

    def _deliver(self, subjects: Sequence[_Subject]) -> _Delivery:
        """Send what is due, and note in the subjects what arrived."""
        waiting = {
            channel: [(one, alerts) for one in subjects if (alerts := due(one.alerts, channel))]
            for channel in self._channels
        }
        letters = {
            channel: [letter_of(alerts, self._settings, self._now) for _, alerts in some]
            for channel, some in waiting.items()
        }
        delivery = _Delivery()
        for channel, outcomes in send(letters, self._settings, seconds=SEND_SECONDS).items():
            for (subject, alerts), failure in zip(waiting[channel], outcomes, strict=True):
                if failure:
                    delivery.failed[channel.name] = failure
                else:
                    delivery.reached.add(channel.name)
                    subject.alerts = delivered(subject.alerts, channel, alerts)
        self._unheard += [f"the channel {name} failed: {why}" for name, why in delivery.failed.items()]
        return delivery

    def _save(self, subjects: Sequence[_Subject], *, first: bool = False) -> None:
        for one in subjects:
            alerts = one.alerts if first else remembered(one.alerts, self._channels, self._now)
            try:
                remember(self._settings, one.name, one.memory.model_copy(update={"alerts": alerts}))
            except OSError as error:
                text = f"what was told cannot be written: {error}; it is told again when this process ends"
                if text not in self._unable:
                    self._unable.append(text)

    def _ping(self, subjects: Sequence[_Subject]) -> tuple[bool, str | None]:
        """Send the heartbeat unless nobody would hear of a problem otherwise; None: not tried."""
        url = self._settings.watch.heartbeat
        # Stores that have not answered yet are no problem, but nothing is known to be well either.
        could_not = self._unable or self._judging.problems or self._judging.unjudged
        if url is None or could_not or self._nobody_hears(subjects):
            return False, None
        failure = ping(url.get_secret_value())
        if failure:
            self._unheard.append(f"the heartbeat failed: {failure}")
        return not failure, failure

    def _nobody_hears(self, subjects: Sequence[_Subject]) -> bool:
        if not self._channels:
            return any(condition.severity == "error" for one in subjects for condition in one.found.conditions)
        # One channel that has heard everything is enough: the others are reported there.
        return all(any(due(one.alerts, channel) for one in subjects) for channel in self._channels)

    def _look_at_itself(self, delivery: _Delivery, heartbeat: str | None) -> _Subject:
        memory = self._recall(THE_WATCH)
        found = [
            Condition(
                THE_WATCH, "channel_failed", name, "error",
                title=self._words.say("channel_failed.title", channel=name),
                cause=why,
                remedy=self._words.say("channel_failed.remedy"),
            )
            for name, why in delivery.failed.items()
        ]  # fmt: skip
        if heartbeat:
            found.append(
                Condition(
                    THE_WATCH,
                    "heartbeat_failed",
                    "",
                    "error",
                    title=self._words.say("heartbeat_failed.title"),
                    cause=heartbeat,
                    remedy=self._words.say("heartbeat_failed.remedy"),
                )
            )
        tried = delivery.reached | set(delivery.failed)
        undecided = [
            key_of(THE_WATCH, "channel_failed", one.name) for one in self._channels if one.name not in tried
        ]  # fmt: skip
        if heartbeat is None and self._settings.watch.heartbeat is not None:
            undecided.append(key_of(THE_WATCH, "heartbeat_failed"))
        outcome = Found(tuple(found), tuple(undecided))
        return _Subject(THE_WATCH, memory, decide(memory.alerts, outcome, self._now, self._reminder), outcome)
