"""Which files of a place belong to no set and may be swept away?"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from backup_assets.sets.manifest import Manifest
from backup_assets.sets.place import StoredObject, is_manifest, set_id_of, split_key

#: As files.partial_path names them: <final name>.<8 hexadecimal digits>.partial
_PARTIAL = re.compile(r".+\.[0-9a-f]{8}\.partial")


@dataclass(frozen=True)
class Leftover:
    """A file that nothing needs; ``size`` in bytes, ``reason`` for the operator."""

    key: str
    size: int
    reason: str


def leftovers(
    listing: Iterable[StoredObject],
    manifests: Iterable[Manifest],
    now: datetime,
    older_than: timedelta,
) -> tuple[Leftover, ...]:
    """Return the files of one place that may be removed, sorted by key.

    ``listing`` has every file of the place, partials included; ``manifests`` those that could be read. Kept are:
    everything as young as ``older_than``, every file that bears the id of a set with a manifest (damaged or not) or
    of one that a manifest requires, every artifact that a manifest names, and every file that is none of ours.
    While a place has no manifest at all only partials go: an empty ``meta`` is more likely a lost one.
    """
    files = sorted(listing)
    known = [(stored, place_and_name[1]) for stored in files if (place_and_name := split_key(stored.key))]
    protected = {set_id_of(name) for _, name in known if is_manifest(name)}
    named: set[str] = set()
    for manifest in manifests:
        protected |= {manifest.id, *manifest.needs}
        named |= {artifact.name for artifact in manifest.artifacts}
    found: list[Leftover] = []
    for stored, name in known:
        if now - stored.stored_at <= older_than:
            continue
        if _PARTIAL.fullmatch(name):
            found.append(Leftover(stored.key, stored.size, "never finished"))
            continue
        set_id = set_id_of(name)
        if not protected or set_id is None or set_id in protected or name in named:
            continue
        found.append(Leftover(stored.key, stored.size, f"no manifest of the set {set_id}"))
    return tuple(found)
