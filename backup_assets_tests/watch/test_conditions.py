from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backup_assets.watch.conditions import (
    Blocked,
    Concern,
    Condition,
    Facts,
    conditions_of,
    no_facts,
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
from backup_assets.watch.troubles import FORGOTTEN_AFTER, FinishedRun, Trouble, after

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


@pytest.mark.parametrize(
    ("silent", "open_"),
    [
        ({"name": "local"}, {"rpo", "verified", "drill", "store_space", "important_tables"}),
        ({"name": "usb"}, {"verified", "store_space", "important_tables"}),
        ({"name": "s3", "kind": "s3"}, {"verified", "important_tables"}),
        ({"name": "usb", "denied": True}, set()),
    ],
)
def test_what_looks_met_because_a_store_does_not_answer_is_not_over(silent: dict[str, Any], open_: set[str]) -> None:
    met = figures(
        a_store("other"), a_store(error="no route", **silent),
        rpo="met", verified="met", drill="met", store_space="met", important_tables="met", three_copies="met",
    )  # fmt: skip

    found = conditions_of(met, (), KNOWN, NOW)

    names = ("rpo", "verified", "drill", "store_space", "important_tables", "copies")
    assert {name for name in names if found.is_undecided(f"erp4:{name}:")} == open_


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
    assert set(unknown.undecided) == {"erp4:retention_blocked:", "erp4:encryption_key:", "erp4:not_measured:facts"}


def test_facts_that_could_not_be_looked_at_are_told_beside_the_figures() -> None:
    waiting = conditions_of(figures(rpo="broken"), (), no_facts(), NOW)
    failed = conditions_of(figures(rpo="broken"), (), no_facts("no disk"), NOW)

    assert [one.key for one in waiting.conditions] == ["erp4:rpo:"]
    assert waiting.is_undecided("erp4:not_measured:facts")
    assert [(one.key, one.cause) for one in failed.conditions[1:]] == [("erp4:not_measured:facts", "no disk")]
    assert all(one.is_undecided("erp4:hold_expires:s3/set-9") for one in (waiting, failed))


def test_what_failed_and_passed_since_the_last_look_is_an_event_with_a_key_of_its_own() -> None:
    found = conditions_of(figures(), [a_trouble()], KNOWN, NOW, ended=[a_trouble(), a_trouble(NOW - FORGOTTEN_AFTER)])

    still, event = found.conditions
    assert (still.key, still.lasting) == ("erp4:run_failed:erp4_backup_job@2026-11-22", True)
    assert (event.key, event.lasting) == ("erp4:run_failed:erp4_backup_job@2026-11-22#1a", False)
    assert event.title.endswith("failed for the slot 2026-11-22, and a later one succeeded")
    assert (event.cause, event.slot) == ("it broke", "2026-11-22")
    assert event.safe.startswith("set-5")


def test_a_copy_whose_run_failed_is_not_called_made_because_that_of_a_later_slot_was() -> None:
    runs = [
        FinishedRun(day, "erp4_s3_upload_job", day, ok, NOW, "" if ok else "no route")
        for day, ok in (("2026-11-20", False), ("2026-11-21", True))
    ]
    judged = after((), runs)
    assert judged.open == ()
    (event,) = conditions_of(figures(), judged.open, KNOWN, NOW, ended=judged.ended).conditions

    assert event.slot == "2026-11-20"
    assert "if the one that succeeded was for another slot, run it again for its own" in event.remedy


def test_a_store_that_does_not_answer_leaves_another_whose_name_begins_the_same_alone() -> None:
    found = conditions_of(
        figures(a_store("local"), a_store("s3", error="no route"), a_store("s3_osaka")), (), KNOWN, NOW
    )

    assert found.is_undecided("erp4:copy_late:s3")
    assert not found.is_undecided("erp4:copy_late:s3_osaka")


def test_damaged_manifests_are_told() -> None:
    assert [one.key for one in of(figures(a_store("local", damaged=2)))] == ["erp4:sets_damaged:local"]


def test_stores_that_cannot_be_measured_leave_everything_else_open() -> None:
    found = not_measured("erp4", "no answer", [a_trouble()], NOW)

    assert [one.kind for one in found.conditions] == ["not_measured", "run_failed"]
    assert "erp4:rpo:" in found.undecided
    assert not found.is_undecided("erp4:run_failed:erp4_backup_job@2026-11-22")
    assert not found.is_undecided("erp4:not_measured:")
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


def test_sets_that_are_lost_are_told_at_once_and_those_that_vanished_after_an_hour() -> None:
    (lost,) = of(figures(a_store("local"), a_store(lost=("set-9",), vanished=("set-8",))))
    (vanished,) = of(figures(a_store("local"), a_store(vanished=("set-8", "set-7", "set-6", "set-5"))))

    assert (lost.key, lost.severity, lost.patience) == ("erp4:sets_incomplete:usb", "error", timedelta())
    assert "set-9" in lost.cause
    assert "set-8" in lost.cause
    assert (vanished.key, vanished.patience) == (lost.key, HOUR)
    assert "4 that were copied there are gone" in vanished.cause
    assert vanished.cause.endswith("(set-8, set-7, set-6, …)")


def test_servers_that_write_under_one_name_are_told_by_store() -> None:
    (found,) = of(figures(a_store("local"), a_store(servers=("set-9 is of one", "set-8 of another"))))

    assert (found.key, found.severity) == ("erp4:servers_mixed:usb", "error")
    assert found.title == "2 servers are backed up into usb under one name"
    assert found.cause == "set-9 is of one; set-8 of another"
    assert "--store usb" in found.remedy


def test_where_nobody_knows_what_vanished_nothing_of_it_is_over() -> None:
    found = conditions_of(figures(a_store("local"), a_store(vanished=None)), (), KNOWN, NOW)

    assert (found.conditions, found.undecided) == ((), ("erp4:sets_incomplete:usb",))


@pytest.mark.parametrize(("name", "hours"), [("important_tables", 168.0), ("infrastructure", 48.0)])
@pytest.mark.parametrize("state", ["warn", "broken"])
def test_that_there_was_never_one_is_told_as_broken_when_one_was_due(
    name: ObjectiveName, hours: float, state: ObjectiveState
) -> None:
    never = replace(figures(), objectives=(Objective(name, state, None, hours, "hours", "none yet"),))
    late = replace(figures(), objectives=(Objective(name, state, 1000.0, hours, "hours", "too old"),))

    (told,), (at_once,) = of(never), of(late)
    assert (told.severity, told.patience) == ("error", hours * HOUR)
    assert (at_once.severity, at_once.patience) == ("error" if state == "broken" else "warn", timedelta())
    assert f"erp4_{name}_schedule" in told.remedy
