"""What is true of the backups of a database at this moment, measured from its stores alone?"""

from __future__ import annotations

from datetime import datetime

from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.watch.alert_words import IN_ENGLISH, AlertWords
from backup_assets.watch.figures import DatabaseFigures, DrillFigures, SetFigures, StoreFigures
from backup_assets.watch.forecast import newest_drill, restore_forecast
from backup_assets.watch.known import Known
from backup_assets.watch.looking import ANSWER_SECONDS, Held, Look, look_at_stores
from backup_assets.watch.missed import missed_slots, slots_since
from backup_assets.watch.objectives import late, objectives_of


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
    return figures_of(database, look_at_stores(database, settings, now, seconds=seconds), now, words)


def figures_of(
    database: DatabaseSettings, looks: tuple[Look, ...], now: datetime, words: AlertWords = IN_ENGLISH
) -> DatabaseFigures:
    """Return the figures that follow from what the stores hold."""
    known = Known(database, looks, now, words)
    slots = slots_since(database, known.all_good, now)
    missed = missed_slots(database, slots, known.all_good, now)
    forecast, drill = restore_forecast(known), newest_drill(known)
    return DatabaseFigures(
        database=database.name,
        tier=database.tier,
        at=now,
        rpo_hours=database.rpo_hours,
        rto_hours=database.rto_hours,
        stores=tuple(_store(known, look) for look in looks),
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
        objectives=objectives_of(known, slots, missed, forecast),
    )


def _store(known: Known, look: Look) -> StoreFigures:
    incomplete = sum(bool(one.faults) for one in look.sets)
    return StoreFigures(
        name=look.name,
        kind=look.kind,
        error=look.error,
        sets=len(look.sets) - incomplete,
        incomplete=incomplete,
        damaged=look.damaged,
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
