"""The objects for Kubernetes against its own description, and the values for Dagster's chart against our instance."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._serdes.config_class import ConfigurableClassData

from backup_assets.instance import PACKAGED_CONFIG
from backup_assets.instances.kubernetes import JobRunLauncher
from backup_assets.settings_loading import load_settings
from backup_assets_tests.instances.cluster import KubernetesApi
from backup_assets_tests.instances.conftest import InstanceOf, a_history, instance_of
from backup_assets_tests.instances.launching import a_run, launch
from backup_assets_tests.instances.shapes import as_kubernetes
from backup_assets_tests.instances.test_kubernetes import VARIABLES, api

__all__ = ["a_history", "api", "instance_of"]

KUBERNETES = Path(__file__).parents[2] / "docker" / "kubernetes"
VALUES: dict[str, Any] = yaml.safe_load((KUBERNETES / "values.yaml").read_text())
OBJECTS: list[dict[str, Any]] = list(yaml.safe_load_all((KUBERNETES / "objects.yaml").read_text()))
LAUNCHER = VALUES["runLauncher"]["config"]["customRunLauncher"]


def one_of(kind: str, name: str) -> dict[str, Any]:
    (found,) = (one for one in OBJECTS if (one["kind"], one["metadata"]["name"]) == (kind, name))
    return found


@pytest.mark.parametrize("document", OBJECTS, ids=lambda one: f"{one['kind']} {one['metadata']['name']}")
def test_an_object_has_the_shape_that_kubernetes_describes(document: dict[str, Any]) -> None:
    assert as_kubernetes(document, f"V1{document['kind']}").metadata.name


def test_a_field_that_no_object_has_is_noticed() -> None:
    with pytest.raises(AssertionError):
        as_kubernetes({**OBJECTS[0], "datas": {}}, "V1ConfigMap")


def test_the_settings_among_the_objects_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "backup.yaml").write_text(one_of("ConfigMap", "backup-instance-settings")["data"]["backup.yaml"])
    assert [database.name for database in load_settings({"ERP4_PASSWORD": "x"}, tmp_path).databases] == ["erp4"]


def test_the_code_location_has_the_volumes_and_the_secrets_of_its_runs() -> None:
    pod = one_of("Deployment", "backup-code")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    run = LAUNCHER["config"]
    assert pod["volumes"] == run["volumes"]
    assert container["volumeMounts"] == run["volume_mounts"]
    names = [next(iter(source.values()))["name"] for source in container["envFrom"]]
    assert names == [*run["env_config_maps"], *run["env_secrets"]]
    (current,) = (one["value"] for one in container["env"] if one["name"] == "DAGSTER_CURRENT_IMAGE")
    image = VALUES["dagsterDaemon"]["image"]
    assert current == container["image"] == run["job_image"] == f"{image['repository']}:{image['tag']}"


def test_the_workspace_finds_the_code_location_under_the_name_that_schedules_belong_to() -> None:
    (server,) = VALUES["dagsterWebserver"]["workspace"]["servers"]
    service = one_of("Service", server["host"])
    assert server["name"] == "backup_assets"
    assert [port["port"] for port in service["spec"]["ports"]] == [server["port"]]
    (policy,) = one_of("NetworkPolicy", "backup-code")["spec"]["ingress"]
    assert [port["port"] for port in policy["ports"]] == [server["port"]]
    labels = one_of("Deployment", "backup-code")["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()


def snake_case(value: Any) -> Any:
    """Return values of the chart as they stand in an instance file."""
    if isinstance(value, dict):
        return {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower(): snake_case(inner) for key, inner in value.items()}
    return [snake_case(one) for one in value] if isinstance(value, list) else value


def test_the_chart_writes_the_settings_of_every_instance() -> None:
    common = yaml.safe_load(PACKAGED_CONFIG.read_text())
    daemon = VALUES["dagsterDaemon"]
    assert snake_case(daemon["runMonitoring"]) == common["run_monitoring"]
    assert snake_case(daemon["runRetries"]) == common["run_retries"]
    concurrency = snake_case(VALUES["concurrency"])
    assert concurrency.pop("enabled") is True
    assert concurrency == common["concurrency"]
    assert VALUES["scheduler"]["config"]["customScheduler"] == common["scheduler"]
    retention = snake_case(VALUES["retention"])
    assert retention["schedule"] == common["retention"]["schedule"]
    assert retention["sensor"]["purge_after_days"].items() >= common["retention"]["sensor"]["purge_after_days"].items()
    assert VALUES["telemetry"] == common["telemetry"]


@pytest.fixture
def an_instance(instance_of: InstanceOf) -> Iterator[dg.DagsterInstance]:
    yield instance_of("kubernetes", **VARIABLES)


def test_a_run_is_the_same_job_with_the_chart_as_without(an_instance: dg.DagsterInstance, api: KubernetesApi) -> None:
    run = launch(an_instance, a_run(an_instance))
    (without,) = api.jobs.values()
    api.jobs.clear()
    data = ConfigurableClassData(LAUNCHER["module"], LAUNCHER["class"], yaml.safe_dump(LAUNCHER["config"]))
    of_chart = data.rehydrate(as_type=JobRunLauncher)
    of_chart.register_instance(an_instance)
    an_instance._run_launcher = of_chart

    launch(an_instance, run)

    (job,) = api.jobs.values()
    pod, other = (one["spec"]["template"]["spec"] for one in (job, without))
    (container,), (other_container,) = pod["containers"], other["containers"]
    password = next(one for one in container["env"] if one["name"] == "DAGSTER_PG_PASSWORD")
    assert password["valueFrom"]["secretKeyRef"]["name"] == VALUES["global"]["postgresqlSecretName"]
    container["env"].remove(password)
    container["args"] = other_container["args"] = []  # in it is the instance, whose launcher differs
    home = str(an_instance.root_directory)
    assert yaml.safe_dump(job) == yaml.safe_dump(without).replace(home, LAUNCHER["config"]["dagster_home"])
    assert as_kubernetes(job, "V1Job").spec.template.spec.containers[0].command == ["/usr/bin/env"]
