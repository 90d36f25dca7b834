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
    return (
        _rule(known, "three_copies", apart, 1, COPIES, "copies"),
        _rule(known, "two_media", apart, 0, MEDIA, "media"),
        _rule(known, "one_off_site", away, 0, OFF_SITE, "stores"),
    )


def _rule(known: Known, name: ObjectiveName, stores: Sequence[Look], others: int, wanted: int, unit: str) -> Objective:
    say = known.words.say
    held = [look for look in stores if known.is_fresh(look)]
    presumed = [look for look in stores if known.is_presumed_fresh(look)]
    sure, likely = others + len(held), others + len(held) + len(presumed)
    state: ObjectiveState = "met" if sure >= wanted else "warn" if likely >= wanted else "broken"
    told = [_told(known, look) for look in held] + [say("copies.presumed", store=look.name) for look in presumed]
    text = say(
        name,
        others="".join(say("three_copies.other", store=store) for store in told),
        stores=known.words.join("listed", told) or say("copies.none"),
        hours=known.copy_limit.total_seconds() / 3600,
        together="".join(say("copies.together", why=look.not_apart) for look in known.looks if look.not_apart),
    )
    if state == "broken":
        text = say("copies.wanted", text=text, wanted=wanted)
    return Objective(name, state, float(sure if state != "warn" else likely), float(wanted), unit, text)


def _told(known: Known, look: Look) -> str:
    account = known.words.say("copies.account", account=look.account) if look.account else ""
    where = known.words.join("listed", [part for part in (look.region, account) if part])
    return f"{look.name} ({where})" if where else look.name
