"""What, beside the figures, ends or blocks the backups sooner or later: the retention, and the encryption's keys?"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from backup_assets.ciphers.configured import configured_cipher
from backup_assets.ciphers.gpg import GpgCipher
from backup_assets.errors import BackupError
from backup_assets.retention.pruning import Pruned, prune_all
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.watch.conditions import Blocked, Concern, Facts

#: The retention reads every manifest once more: often enough that a problem is told within half an hour.
LOOKED_AT_EVERY_SECONDS = 1200.0
#: Time enough to get a new key from those who keep it; `doctor` warns earlier.
EXPIRES_WITHIN_SECONDS = 30 * 24 * 3600

_known: dict[tuple[object, ...], tuple[float, Facts]] = {}
_guard = threading.Lock()


def facts_of(database: DatabaseSettings, settings: Settings) -> Facts:
    """Return the facts about a database, looked at no more often than every `LOOKED_AT_EVERY_SECONDS`."""
    key = (settings.backup_dir, settings.env, database.name)
    with _guard:
        known = _known.get(key)
    if known is not None and time.monotonic() - known[0] < LOOKED_AT_EVERY_SECONDS:
        return known[1]
    facts = look_at(database, settings)
    with _guard:
        _known[key] = (time.monotonic(), facts)
    return facts


def look_at(database: DatabaseSettings, settings: Settings) -> Facts:
    """Return the facts as they are now."""
    pruned = tuple(prune_all(database, settings))
    return Facts(
        tuple(_blocked(pruned)),
        tuple(one.store for one in pruned if one.error is not None),
        tuple(_encryption(settings)),
    )


def _blocked(pruned: tuple[Pruned, ...]) -> Iterator[Blocked]:
    for one in pruned:
        if one.plan is None or not one.plan.blocked:
            continue
        # Nothing is held up where nothing would have gone.
        if any(reason.code == "blocked" for line in one.plan.lines for reason in line.reasons):
            yield Blocked(one.store, "; ".join(reason.text for reason in one.plan.blocked))


def _encryption(settings: Settings) -> Iterator[Concern]:
    encryption = settings.encryption
    if not encryption.encrypts:
        return
    cipher = configured_cipher(encryption)
    try:
        cipher.check()
        if isinstance(cipher, GpgCipher):
            for key in cipher.expiring_before(time.time() + EXPIRES_WITHIN_SECONDS):
                until = f"{key.expires:%Y-%m-%d}" if key.expires else "soon"
                yield Concern(
                    key.fingerprint,
                    "warn",
                    f"the key {key} expires on {until}: backups would stop then",
                    "let its owner extend it, and import the public key again",
                )
    except BackupError as error:
        yield Concern(
            "unusable",
            "error",
            error.what + (f": {error.why}" if error.why else ""),
            error.remedy or "`backup-assets doctor` says more",
        )
