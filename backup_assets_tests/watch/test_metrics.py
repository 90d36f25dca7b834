from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from backup_assets.errors import EnvironmentFault
from backup_assets.sets.servers import ServerIdentity
from backup_assets.watch.metrics import METRICS, PREFIX, exposition, write_textfile
from backup_assets_tests.docs.pages import DOCS
from backup_assets_tests.watch.stores_at_work import (
    DAY,
    HOUR,
    NOW,
    a_folder,
    copy_recorded,
    drilled,
    measured,
    proven,
    settings_of,
    taken,
)

MONITORING = DOCS / "monitoring"
NAMES = {PREFIX + one.name: {*one.labels} for one in METRICS}


def samples(content: bytes) -> dict[tuple[str, ...], float]:
    """Return the samples by name and labels' values, as Prometheus itself would read them."""
    found = {}
    for family in text_string_to_metric_families(content.decode()):
        for sample in family.samples:
            found[(sample.name.removeprefix(PREFIX), *sample.labels.values())] = sample.value
    return found


def test_every_figure_is_a_sample(tmp_path: Path):
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"))
    one = taken(settings, NOW - 10 * HOUR, stores=("local", "usb"))
    proven(settings, one, at=NOW - 9 * HOUR)
    drilled(settings, one, at=NOW - DAY, seconds=90.0)
    found = samples(exposition([measured(settings)]))
    moment = (NOW - 10 * HOUR).timestamp()
    assert found["newest_set_timestamp_seconds", "erp4"] == moment
    assert found["proven_set_timestamp_seconds", "erp4"] == moment
    assert found["last_proof_timestamp_seconds", "erp4"] == (NOW - 9 * HOUR).timestamp()
    assert found["drill_duration_seconds", "erp4"] == 90.0
    assert found["restore_forecast_seconds", "erp4"] == 90.0
    assert found["rpo_target_seconds", "erp4"] == 86400.0
    assert found["objective_state", "erp4", "rpo"] == 0.0
    assert found["objective_measured", "erp4", "three_copies"] == 3.0
    assert found["store_newest_set_timestamp_seconds", "erp4", "usb"] == moment
    assert found["store_off_site", "erp4", "usb"] == 1.0
    assert {key[0] for key in found} == {one.name for one in METRICS}


def test_what_is_not_known_has_no_sample(tmp_path: Path):
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"))
    (tmp_path / "usb").rmdir()
    found = samples(exposition([measured(settings)]))
    assert found["store_up", "erp4", "usb"] == 0.0
    assert [key for key in found if "usb" in key] == [("store_up", "erp4", "usb")]
    assert ("newest_set_timestamp_seconds", "erp4") not in found
    assert found["objective_state", "erp4", "rpo"] == 3.0


def test_what_a_store_has_lost_is_counted(tmp_path: Path):
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"))
    sets = [taken(settings, NOW - number * DAY, stores=("local", "usb")) for number in range(3)]
    for one in sets:
        copy_recorded(settings, one, "usb")
    for path in (tmp_path / "usb").rglob(f"{sets[1].id}*"):
        path.unlink()
    (tmp_path / "usb" / "erp4" / "prod" / sets[2].artifacts[0].name).unlink()
    found = samples(exposition([measured(settings)]))
    assert (found["store_lost_sets", "erp4", "usb"], found["store_vanished_sets", "erp4", "usb"]) == (1.0, 1.0)
    assert (found["store_lost_sets", "erp4", "local"], found["store_vanished_sets", "erp4", "local"]) == (0.0, 0.0)


def test_servers_that_write_into_one_store_are_counted(tmp_path: Path):
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"))
    for number in range(4):
        server = ServerIdentity(("7000", "8000")[number % 2], 1)
        taken(settings, NOW - number * 10 * HOUR, stores=("usb",), server=server)
    taken(settings, NOW - HOUR, server=ServerIdentity("7000", 1))
    found = samples(exposition([measured(settings)]))
    assert (found["store_mixed_servers", "erp4", "usb"], found["store_mixed_servers", "erp4", "local"]) == (2.0, 0.0)


def test_a_textfile_is_replaced_whole_and_can_be_read_by_others(tmp_path: Path):
    path = tmp_path / "backup.prom"
    write_textfile(path, b"old\n")
    write_textfile(path, b"new\n")
    assert path.read_bytes() == b"new\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_textfile_that_cannot_be_written_is_a_clear_error(tmp_path: Path):
    with pytest.raises(EnvironmentFault, match="cannot be written to") as caught:
        write_textfile(tmp_path / "missing" / "backup.prom", b"x")
    assert "--textfile" in caught.value.remedy
    (tmp_path / "taken").mkdir()
    with pytest.raises(EnvironmentFault):
        write_textfile(tmp_path / "taken", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((MONITORING / "alert-rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return json.loads((MONITORING / "grafana-dashboard.json").read_text())["panels"]


def queries() -> list[str]:
    """Return every query of the rules and the dashboard, Grafana's variables replaced."""
    shown = [target["expr"] for panel in panels() for target in panel.get("targets", ())]
    return [rule["expr"] for rule in rules()] + [expr.replace("$database", "erp4") for expr in shown]


def selectors(node: Any) -> Iterator[Any]:
    """Yield the selectors of a parsed query."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("lhs", "rhs", "expr", "vector_selector"):
        inner = getattr(node, name, None)
        if inner is not None:
            yield from selectors(inner)
    for inner in getattr(node, "args", None) or ():
        yield from selectors(inner)


@pytest.mark.parametrize("query", queries())
def test_every_query_can_be_parsed_and_asks_for_metrics_that_exist(query: str):
    asked = list(selectors(promql_parser.parse(query)))
    assert asked
    for selector in asked:
        assert selector.name in {*NAMES, "up"}
        if selector.name in NAMES:
            assert {matcher.name for matcher in selector.matchers.matchers} <= NAMES[selector.name]


def test_the_words_of_an_alert_use_labels_and_metrics_that_exist():
    assert len({rule["alert"] for rule in rules()}) == len(rules()) >= 8
    for rule in rules():
        text = " ".join(rule["annotations"].values())
        assert {*re.findall(r"\$labels\.(\w+)", text)} <= {"database", "store", "objective", "instance"}
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert promql_parser.parse(f"x[{rule['for']}]")


def test_the_dashboard_has_a_panel_for_every_promise():
    shown = " ".join(target["expr"] for panel in panels() for target in panel.get("targets", ()))
    for name in ("objective_state", "newest_set", "proven_set", "drill_timestamp", "restore_forecast", "store_free"):
        assert f"{PREFIX}{name}" in shown
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels()]
    assert len({*places}) == len(places)
    assert len({panel["id"] for panel in panels()}) == len(places)


@pytest.mark.skipif(shutil.which("promtool") is None and "CI" not in os.environ, reason="promtool is not installed")
def test_promtool_accepts_the_rules():
    command = ["promtool", "check", "rules", str(MONITORING / "alert-rules.yml")]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
