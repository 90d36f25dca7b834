"""What is true of the backups of a database at this moment, measured from its stores alone?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from backup_assets.aws.infrastructure.place import infrastructure_databases
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.watch.alert_words import IN_ENGLISH, AlertWords
from backup_assets.watch.beside import important_tables, infrastructure
from backup_assets.watch.figures import DatabaseFigures, DrillFigures, SetFigures, StoreFigures
from backup_assets.watch.forecast import newest_drill, restore_forecast
from backup_assets.watch.known import Known
from backup_assets.watch.looking import ANSWER_SECONDS, Held, Look, look_at_places
from backup_assets.watch.losses import lost, vanished
from backup_assets.watch.missed import missed_slots, slots_since
from backup_assets.watch.mixed import mixed
from backup_assets.watch.objectives import late, objectives_of

#: Places of one database with what each store holds of them: its own first, then what is told with it.
Looks = tuple[tuple[DatabaseSettings, tuple[Look, ...]], ...]


def measure(
    database: DatabaseSettings,
    settings: Settings,
    now: datetime,
    *,
    seconds: float = ANSWER_SECONDS,
    words: AlertWords = IN_ENGLISH,
) -> DatabaseFigures:
    """Return the figures of a database at ``now`` (aware), from the manifests and records in its stores.

    Nothing of Dagster is asked, so that all of it is right when Dagster's own database is lost. Every store has
    ``seconds`` to answer; one that does not is a `StoreFigures` with an error. Sentences are said in ``words``.
    """
    return figures_of(look_at_all(database, settings, now, seconds=seconds), now, words)


def look_at_all(
    database: DatabaseSettings, settings: Settings, now: datetime, *, seconds: float = ANSWER_SECONDS
) -> Looks:
    """Return what every store holds of a database and of what is told with it; ``seconds`` are those of all."""
    # Assets, jobs and alerts of the infrastructure are those of the first database.
    with_it = infrastructure_databases(settings) if database.name == settings.databases[0].name else ()
    places = (database, *with_it)
    found = look_at_places(places, settings, now, seconds=seconds)
    return tuple(zip(places, found, strict=True))


def figures_of(looks_at: Looks, now: datetime, words: AlertWords = IN_ENGLISH) -> DatabaseFigures:
    """Return the figures of a database that follow from what the stores hold of it and of what is told with it."""
    (database, looks), *with_it = looks_at
    known = Known(database, looks, now, words)
    beside = (
        important_tables(known),
        *(infrastructure(known, Known(place, found, now, words)) for place, found in with_it),
    )
    slots = slots_since(database, known.all_good, now)
    missed = missed_slots(database, slots, known.all_good, now)
    forecast, drill = restore_forecast(known), newest_drill(known)
    return DatabaseFigures(
        database=database.name,
        tier=database.tier,
        at=now,
        rpo_hours=database.rpo_hours,
        rto_hours=database.rto_hours,
        stores=tuple(
            _store(known, look, [(found[number], found[0]) for _, found in looks_at])
            for number, look in enumerate(looks)
        ),
        drill=None
        if drill is None
        else DrillFigures(
            at=drill.started_at,
            store=drill.store,
            passed=drill.passed,
            within_rto=drill.within_rto is True,
            seconds=drill.total_seconds,
            set_id=drill.set_id,
        ),
        missed_slots=missed,
        restore_forecast_seconds=None if forecast is None else round(forecast.seconds, 1),
        objectives=(
            *objectives_of(known, slots, missed, forecast),
            *(one for one in beside if one is not None),
        ),
    )


def _store(known: Known, look: Look, places: Sequence[tuple[Look, Look]]) -> StoreFigures:
    """Return what a store holds; ``places`` are the looks at every place in it, each with that at the local store."""
    incomplete = sum(bool(one.faults) for one in look.sets)
    gone = [vanished(found, local, known.now) for found, local in places]
    return StoreFigures(
        name=look.name,
        kind=look.kind,
        error=look.error,
        denied=look.denied,
        sets=len(look.sets) - incomplete,
        incomplete=incomplete,
        lost=tuple(one for found, _ in places for one in lost(found, known.now)),
        vanished=None if None in gone else tuple(one for found in gone for one in found or ()),
        servers=_servers(known, look),
        damaged=sum(found.damaged for found, _ in places),
        bytes=sum(one.size_bytes for one in look.sets),
        free_bytes=look.free_bytes,
        newest=_set(known, look, known.newest(look)),
        proven=_set(known, look, known.proven(look)),
        not_apart=look.not_apart,
        off_site=look.off_site,
        region=look.region,
        account=look.account,
        late=late(known, look),
    )


def _servers(known: Known, look: Look) -> tuple[str, ...]:
    rpo = timedelta(hours=known.database.rpo_hours)
    return tuple(
        known.words.say("servers_mixed.one", set=one.id, server=str(one.server)) for one in mixed(look, known.now, rpo)
    )


def _set(known: Known, look: Look, one: Held | None) -> SetFigures | None:
    if one is None:
        return None
    verdict = known.verdict(one, look)
    return SetFigures(
        id=one.id,
        slot=one.slot,
        taken_at=one.taken_at,
        size_bytes=one.size_bytes,
        label=one.label,
        held=one.hold,
        verified_at=one.verified.at if one.verified else None,
        verified_level=one.verified.level if one.verified else None,
        verification_failed_at=None if verdict is None or verdict.passed else verdict.at,
    )
