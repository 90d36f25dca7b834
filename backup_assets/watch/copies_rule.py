"""Does the rule hold: three copies, on two media, one of them off-site?

The live database is the first copy. A further one counts when it is fresh: an old set is no copy of today's data. A
store on the same disk or machine as the local one is no copy of its own, because what happens to one happens to both.
"""

from __future__ import annotations

from collections.abc import Sequence

from backup_assets.watch.figures import Objective, ObjectiveName, ObjectiveState
from backup_assets.watch.known import Known
from backup_assets.watch.looking import Look

COPIES, MEDIA, OFF_SITE = 3, 2, 1


def copies_objectives(known: Known) -> tuple[Objective, ...]:
    """Return the three objectives; a store that does not answer counts as it was last known, and is a warning."""
    apart = [look for look in known.looks if not look.not_apart]
    away = [look for look in known.looks if look.off_site]
    together = "".join(f"; {look.not_apart}" for look in known.looks if look.not_apart)
    fresh = f"counting copies of at most {known.copy_limit.total_seconds() / 3600:.0f} h"
    return (
        _rule(known, "three_copies", apart, 1, COPIES, "copies", f"the live database{{}}, {fresh}{together}"),
        _rule(known, "two_media", apart, 0, MEDIA, "media", f"{{}}, {fresh}{together}"),
        _rule(known, "one_off_site", away, 0, OFF_SITE, "stores", f"off-site: {{}}, {fresh}"),
    )


def _rule(
    known: Known, name: ObjectiveName, stores: Sequence[Look], others: int, wanted: int, unit: str, text: str
) -> Objective:
    held = [look for look in stores if known.is_fresh(look)]
    presumed = [look for look in stores if known.is_presumed_fresh(look)]
    sure, likely = others + len(held), others + len(held) + len(presumed)
    state: ObjectiveState = "met" if sure >= wanted else "warn" if likely >= wanted else "broken"
    words = [_words(look) for look in held] + [f"{look.name} as last known" for look in presumed]
    listed = ", ".join(words) if not others else "".join(f", {word}" for word in words)
    sentence = text.format(listed or ("" if others else "none"))
    if state == "broken":
        sentence += f"; {wanted} wanted: see docs/off-site.md"
    return Objective(name, state, float(sure if state != "warn" else likely), float(wanted), unit, sentence)


def _words(look: Look) -> str:
    where = ", ".join(part for part in (look.region, look.account and f"account {look.account}") if part)
    return f"{look.name} ({where})" if where else look.name
