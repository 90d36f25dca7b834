from __future__ import annotations

from datetime import UTC, datetime, timedelta

from backup_assets.watch.troubles import FORGOTTEN_AFTER, CheckSeen, FinishedRun, after

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def a_run(partition: str = "2026-11-22", *, ok: bool = False, at: datetime = NOW, job: str = "erp4_backup_job", **more):
    return FinishedRun(f"run-{partition}", job, partition, ok, at, "" if ok else "it broke", "mend it", **more)


def of(*runs: FinishedRun) -> list[tuple[str, str, str]]:
    return [(one.kind, one.subject, one.partition) for one in after((), runs).open]


def test_a_failed_run_is_in_trouble_until_the_same_succeeds() -> None:
    (trouble,) = after((), [a_run()]).open

    assert (trouble.cause, trouble.remedy, trouble.at) == ("it broke", "mend it", NOW)
    assert after([trouble], [a_run(ok=True)]).open == ()


def test_a_later_slot_puts_an_earlier_one_right_and_not_the_other_way_round() -> None:
    assert of(a_run("2026-11-21"), a_run("2026-11-22", ok=True)) == []
    assert of(a_run("2026-11-22"), a_run("2026-11-21", ok=True)) == [("run_failed", "erp4_backup_job", "2026-11-22")]


def test_every_slot_that_failed_is_told_on_its_own() -> None:
    assert [partition for _, _, partition in of(a_run("2026-11-20"), a_run("2026-11-21"))] == [
        "2026-11-20",
        "2026-11-21",
    ]


def test_another_job_puts_nothing_right() -> None:
    assert len(of(a_run(), a_run(ok=True, job="erp4_drill_job"))) == 1


def test_a_check_that_fails_in_a_run_that_succeeds_is_in_trouble() -> None:
    bad = CheckSeen("erp4/db_dump restored", "2026-11-22", passed=False, text="two rows differ")
    warning = CheckSeen("erp4/pdf_archive rows", "2026-11-22", passed=False, is_warning=True)
    good = CheckSeen("erp4/db_dump restored", "2026-11-22", passed=True)

    found = after((), [a_run(ok=True, checks=(bad, warning))]).open

    assert [(one.kind, one.cause, one.severity) for one in found] == [
        ("check_failed", "two rows differ", "error"),
        ("check_failed", "", "warn"),
    ]
    assert [one.subject for one in after(found, [a_run(ok=True, checks=(good,))]).open] == ["erp4/pdf_archive rows"]


def test_a_failure_that_is_repeated_keeps_its_beginning() -> None:
    (trouble,) = after((), [a_run(), a_run(at=NOW + HOUR)]).open

    assert (trouble.at, trouble.last_at) == (NOW, NOW + HOUR)
    assert not trouble.is_forgotten(NOW + FORGOTTEN_AFTER)
    assert trouble.is_forgotten(NOW + HOUR + FORGOTTEN_AFTER)


def test_what_began_and_ended_since_the_last_look_is_not_lost() -> None:
    bad = CheckSeen("erp4/aws_events snapshot_copies", "", passed=False, text="the copy failed")
    good = CheckSeen("erp4/aws_events snapshot_copies", "", passed=True)

    judged = after((), [a_run(), a_run(ok=True, checks=(bad,)), a_run(ok=True, checks=(good,))])

    assert judged.open == ()
    assert [(one.kind, one.cause) for one in judged.ended] == [
        ("run_failed", "it broke"),
        ("check_failed", "the copy failed"),
    ]


def test_what_was_in_trouble_before_has_its_own_end_and_is_no_news() -> None:
    known = after((), [a_run()]).open

    again = after(known, [a_run(at=NOW + HOUR), a_run(ok=True, at=NOW + 2 * HOUR)])
    anew = after(known, [a_run(ok=True), a_run(at=NOW + HOUR), a_run(ok=True, at=NOW + 2 * HOUR)])

    assert (again.open, again.ended) == ((), ())
    assert [one.at for one in anew.ended] == [NOW + HOUR]
