"""What, beside the figures, ends or blocks the backups sooner or later: the retention, and the encryption's keys?"""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Iterator, Mapping

from backup_assets.ciphers.configured import configured_cipher
from backup_assets.ciphers.gpg import GpgCipher
from backup_assets.errors import BackupError
from backup_assets.retention.bucket_holds import Ending, endings
from backup_assets.retention.pruning import Pruned, Survey, prune_all, survey
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.watch.alert_words import AlertWords, words_of
from backup_assets.watch.conditions import Blocked, Concern, Expiring, Facts

#: The retention reads every manifest once more: often enough that a problem is told within half an hour.
LOOKED_AT_EVERY_SECONDS = 1200.0
#: Time enough to get a new key from those who keep it; `doctor` warns earlier.
EXPIRES_WITHIN_SECONDS = 30 * 24 * 3600
#: What stops the retention and is told as `rpo` or `copy_late`: those allow for the time that a capture takes, so that
#: nothing is told every night between the moment at which a backup is due and its end.
TOLD_OTHERWISE = ("older_than_rpo",)

_known: dict[tuple[object, ...], tuple[float, Facts]] = {}
_guard = threading.Lock()


def facts_of(database: DatabaseSettings, settings: Settings, silent: Mapping[str, str] | None = None) -> Facts:
    """Return the facts about a database, looked at every `LOOKED_AT_EVERY_SECONDS` at least; see :func:`look_at`."""
    key = (settings.backup_dir, settings.env, database.name)
    with _guard:
        known = _known.get(key)
    # Not of hundreds of databases in the same look: each has its own time, the half of it at least.
    spread = 0.5 + zlib.crc32(database.name.encode()) / 2**33
    if known is not None and time.monotonic() - known[0] < LOOKED_AT_EVERY_SECONDS * spread:
        return known[1]
    facts = look_at(database, settings, silent)
    with _guard:
        _known[key] = (time.monotonic(), facts)
    return facts


def look_at(database: DatabaseSettings, settings: Settings, silent: Mapping[str, str] | None = None) -> Facts:
    """Return the facts as they are now.

    ``silent`` says why stores have just not answered: they are not asked, because one that hangs would keep this from
    ending, and with it what is known of the others.
    """
    words = words_of(settings)
    surveyed = survey(database, settings, to_show=True, silent=silent)
    pruned = tuple(prune_all(database, settings, surveyed=surveyed))
    expiring, unknown = _expiring(database, settings, surveyed, words)
    return Facts(
        tuple(_blocked(pruned, words)),
        tuple(dict.fromkeys([*(one.store for one in pruned if one.error is not None), *unknown])),
        tuple(_encryption(settings, words)),
        expiring,
    )


def _blocked(pruned: tuple[Pruned, ...], words: AlertWords) -> Iterator[Blocked]:
    for one in pruned:
        if one.plan is None or not one.is_held_up:
            continue
        told = [reason for reason in one.plan.blocked if reason.code not in TOLD_OTHERWISE]
        if told:
            reasons = [words.say(f"blocked.{reason.code}", text=reason.text) for reason in told]
            yield Blocked(one.store, words.join("sentences", reasons))


def _expiring(
    database: DatabaseSettings, settings: Settings, surveyed: Survey, words: AlertWords
) -> tuple[tuple[Expiring, ...], list[str]]:
    """Return what is soon removed although it is held, and the stores of which that is not known."""
    found: dict[tuple[str, str], Expiring] = {}
    # Of a bucket into which this role may only store, the local store tells what lies there and is held.
    unknown = [name for name in surveyed.errors if name not in surveyed.unread]
    for name in dict.fromkeys((*surveyed.sets, *surveyed.unread)):
        try:
            for one in endings(database, settings, name, surveyed.known_in(name), surveyed.now):
                if (one.at - surveyed.now).total_seconds() < EXPIRES_WITHIN_SECONDS:
                    found.setdefault((name, one.set_id), Expiring(one.set_id, name, _ends(one, words)))
        except BackupError:
            unknown.append(name)
    return tuple(found.values()), unknown


def _ends(one: Ending, words: AlertWords) -> str:
    until = words.say("hold_expires.for_ever")
    if one.hold.until is not None:
        until = words.say("hold_expires.until", day=f"{one.hold.until:%Y-%m-%d}")
    what = words.say("hold_expires.itself")
    if one.part != one.set_id:
        what = words.say("hold_expires.needed", set=one.part)
    return words.say(
        "hold_expires.cause", set=one.set_id, until=until, store=one.store, what=what, day=f"{one.at:%Y-%m-%d}"
    )


def _encryption(settings: Settings, words: AlertWords) -> Iterator[Concern]:
    encryption = settings.encryption
    if not encryption.encrypts:
        return
    cipher = configured_cipher(encryption)
    try:
        cipher.check()
        if isinstance(cipher, GpgCipher):
            for key in cipher.expiring_before(time.time() + EXPIRES_WITHIN_SECONDS):
                when = "encryption_key.expires" if key.expires else "encryption_key.soon"
                day = f"{key.expires:%Y-%m-%d}" if key.expires else ""
                what = words.say(when, key=key, day=day)
                yield Concern(key.fingerprint, "warn", what, words.say("encryption_key.extend"))
    except BackupError as error:
        yield Concern(
            "unusable",
            "error",
            error.what + (f": {error.why}" if error.why else ""),
            error.remedy or words.say("encryption_key.remedy"),
        )
