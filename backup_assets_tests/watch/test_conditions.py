from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from backup_assets.watch.conditions import (
    Blocked,
    Concern,
    Condition,
    Facts,
    conditions_of,
    not_measured,
    safe_sentence,
)
from backup_assets.watch.figures import (
    DatabaseFigures,
    Objective,
    ObjectiveName,
    ObjectiveState,
    SetFigures,
    StoreFigures,
)
from backup_assets.watch.troubles import FORGOTTEN_AFTER, Trouble

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
KNOWN = Facts((), (), ())


def a_set(hours_old: float = 5) -> SetFigures:
    return SetFigures(f"set-{hours_old:g}", "2026-11-22", NOW - hours_old * HOUR, 1000)


def a_store(name: str = "usb", **fields: object) -> StoreFigures:
    store = StoreFigures(name, "local" if name == "local" else "folder", newest=a_set(), proven=a_set())
    return replace(store, **fields)  # type: ignore[arg-type]


def figures(*stores: StoreFigures, missed: tuple[str, ...] = (), **objectives: ObjectiveState) -> DatabaseFigures:
    return DatabaseFigures(
        database="erp4", tier="ordinary", at=NOW, rpo_hours=24, rto_hours=4,
        stores=stores or (a_store("local"), a_store()), drill=None, missed_slots=missed, restore_forecast_seconds=None,
        objectives=tuple(an_objective(name, state) for name, state in objectives.items()),  # type: ignore[arg-type]
    )  # fmt: skip


def an_objective(name: ObjectiveName, state: ObjectiveState) -> Objective:
    return Objective(name, state, 30.0, 24.0, "hours", f"the text about {name}")


def of(what: DatabaseFigures, facts: Facts = KNOWN, *troubles: Trouble) -> tuple[Condition, ...]:
    return conditions_of(what, troubles, facts, NOW, ui_url="http://ui/").conditions


def a_trouble(at: datetime = NOW) -> Trouble:
    return Trouble(
        kind="run_failed", subject="erp4_backup_job", partition="2026-11-22", run_id="1a", at=at, last_at=at,
        severity="error", cause="it broke", remedy="",
    )  # fmt: skip


def test_what_is_met_is_no_condition() -> None:
    assert of(figures(rpo="met", verified="met", drill="met", store_space="met")) == ()


@pytest.mark.parametrize(
    ("objective", "kind"),
    [
        ("rpo", "rpo"),
        ("verified", "verified"),
        ("drill", "drill"),
        ("rto", "rto"),
        ("store_space", "store_space"),
        ("three_copies", "copies"),
        ("two_media", "copies"),
        ("one_off_site", "copies"),
    ],
)
def test_an_objective_is_warned_of_and_then_broken_under_one_key(objective: str, kind: str) -> None:
    (warning,), (broken,) = (of(figures(**{objective: state})) for state in ("warn", "broken"))  # type: ignore[arg-type]

    assert (warning.kind, warning.severity, broken.severity) == (kind, "warn", "error")
    assert warning.key == broken.key
    assert broken.cause == f"the text about {objective}"
    assert broken.safe.startswith("set-5")
    assert broken.remedy
    assert warning.title != broken.title


def test_what_is_not_known_is_neither_told_nor_over() -> None:
    found = conditions_of(figures(rpo="unknown", one_off_site="unknown"), (), KNOWN, NOW)

    assert found.conditions == ()
    assert set(found.undecided) == {"erp4:rpo:", "erp4:copies:one_off_site"}


def test_without_a_further_store_missing_copies_are_left_to_the_status() -> None:
    assert of(figures(a_store("local"), one_off_site="broken")) == ()


def test_a_store_that_does_not_answer_is_told_and_leaves_its_copies_open() -> None:
    found = conditions_of(figures(a_store("local"), a_store(error="no route", newest=None)), (), KNOWN, NOW)

    assert [one.key for one in found.conditions] == ["erp4:store_unreachable:usb"]
    assert found.conditions[0].cause == "no route"
    assert {"erp4:copy_late:usb", "erp4:slot_missed:"} <= set(found.undecided)


def test_a_late_copy_is_told_by_store_and_a_late_local_set_by_its_objective() -> None:
    late = figures(a_store("local", late="late here"), a_store(late="late there"))

    assert [(one.key, one.cause) for one in of(late)] == [("erp4:copy_late:usb", "late there")]


def test_every_missed_slot_is_an_event() -> None:
    found = of(figures(missed=("2026-11-20", "2026-11-21")))

    assert [(one.key, one.lasting) for one in found] == [
        ("erp4:slot_missed:2026-11-20", False),
        ("erp4:slot_missed:2026-11-21", False),
    ]


def test_a_failed_run_leads_to_its_page() -> None:
    (found,) = of(figures(), KNOWN, a_trouble())

    assert (found.link, found.slot, found.since) == ("http://ui/runs/1a", "2026-11-22", NOW)
    assert found.remedy


def test_a_run_that_nobody_repeats_is_dropped_after_a_week() -> None:
    found = conditions_of(figures(), [a_trouble(NOW - FORGOTTEN_AFTER)], KNOWN, NOW)

    assert (found.conditions, found.dropped) == ((), ("erp4:run_failed:erp4_backup_job@2026-11-22",))


def test_what_blocks_or_ends_the_backups_later_is_told() -> None:
    facts = Facts((Blocked("local", "unverified"),), (), (Concern("ABCD", "warn", "it expires", "extend it"),))

    assert [(one.key, one.severity) for one in of(figures(), facts)] == [
        ("erp4:retention_blocked:local", "warn"),
        ("erp4:encryption_key:ABCD", "warn"),
    ]
    unknown = conditions_of(figures(), (), Facts(None, (), None), NOW)
    assert set(unknown.undecided) == {"erp4:retention_blocked:", "erp4:encryption_key:"}


def test_damaged_manifests_are_told() -> None:
    assert [one.key for one in of(figures(a_store("local", damaged=2)))] == ["erp4:sets_damaged:local"]


def test_stores_that_cannot_be_measured_leave_everything_else_open() -> None:
    found = not_measured("erp4", "no answer", [a_trouble()], NOW)

    assert [one.kind for one in found.conditions] == ["not_measured", "run_failed"]
    assert "erp4:rpo:" in found.undecided
    assert not "erp4:run_failed:erp4_backup_job@2026-11-22".startswith(found.undecided)
    assert not_measured("erp4", "", (), NOW).conditions == ()


@pytest.mark.parametrize(
    ("stores", "sentence"),
    [
        (
            (a_store("local"), a_store()),
            "set-5 (slot 2026-11-22, 5 h old, in local and usb) is proven by a restore",
        ),
        (
            (a_store("local", newest=a_set(1)), a_store()),
            (
                "set-5 (slot 2026-11-22, 5 h old, in local and usb) is proven by a restore; "
                "set-1 (slot 2026-11-22, 1 h old, in local) is complete and not proven yet"
            ),
        ),
        (
            (a_store("local", proven=None),),
            "set-5 (slot 2026-11-22, 5 h old, in local) is complete; no set is proven by a restore",
        ),
        (
            (a_store("local", newest=None, proven=None), a_store(error="down", newest=None, proven=None)),
            "not known: usb did not answer, and there is no complete set elsewhere",
        ),
        (
            (a_store("local", newest=None, proven=None),),
            "nothing: there is no complete set in any store",
        ),
    ],
)
def test_what_is_safe_is_said_in_one_sentence(stores: tuple[StoreFigures, ...], sentence: str) -> None:
    assert safe_sentence(figures(*stores), NOW) == sentence
