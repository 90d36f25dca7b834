"""Runs as Kubernetes jobs, launched by the kind `kubernetes` from within a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher.base import WorkerStatus
from kubernetes.config import incluster_config

from backup_assets.command_runs import COMMAND_LINE, STARTED_BY
from backup_assets_tests.instances.cluster import KubernetesApi, a_kubernetes_api
from backup_assets_tests.instances.conftest import InstanceOf
from backup_assets_tests.instances.launching import IMAGE, a_run, carried_out, launch, stored
from backup_assets_tests.instances.shapes import as_kubernetes

VARIABLES = {
    "BACKUP_IMAGE": "registry.example/unused:1",
    "BACKUP_K8S_NAMESPACE": "backup",
    "BACKUP_K8S_SERVICE_ACCOUNT": "backup-runs",
    "BACKUP_K8S_CONFIG_MAP": "backup-instance",
    "BACKUP_K8S_SECRET": "backup-secrets",
    "BACKUP_K8S_CLAIM": "backup-sets",
    "DAGSTER_LOGS_BUCKET": "erp4-dagster-logs",
    "DAGSTER_LOGS_SSE": "AES256",
    "AWS_DEFAULT_REGION": "ap-northeast-1",
}


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesApi]:
    with a_kubernetes_api(tmp_path) as served:
        # Where every pod finds them; nothing else of the client's own is changed.
        monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(served.token))
        monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(served.certificate))
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(served.port))
        monkeypatch.delenv("HTTPS_PROXY", raising=False)
        yield served
        assert served.refused == 0


@pytest.fixture
def an_instance(instance_of: InstanceOf, api: KubernetesApi) -> dg.DagsterInstance:
    return instance_of("kubernetes", **VARIABLES)


def health(instance: dg.DagsterInstance, run: dg.DagsterRun) -> WorkerStatus:
    """Return how a run is when it has begun."""
    started = run.with_status(dg.DagsterRunStatus.STARTED)
    return instance.run_launcher.check_run_worker_health(started).status


def test_a_run_is_a_job_with_the_store_the_settings_and_the_secrets(
    an_instance: dg.DagsterInstance, api: KubernetesApi
) -> None:
    run = launch(an_instance, a_run(an_instance))

    (document,) = api.jobs.values()
    job = as_kubernetes(document, "V1Job")
    assert job.spec.backoff_limit == 0
    pod = job.spec.template.spec
    assert (pod.service_account_name, pod.restart_policy) == ("backup-runs", "Never")
    assert pod.security_context.run_as_non_root
    assert pod.security_context.run_as_user == 10001
    assert pod.automount_service_account_token is False
    (container,) = pod.containers
    assert container.image == IMAGE
    assert container.security_context.read_only_root_filesystem
    assert container.security_context.capabilities.drop == ["ALL"]
    sources = [one.config_map_ref or one.secret_ref for one in container.env_from]
    assert [source.name for source in sources] == ["backup-instance-env", "backup-secrets"]
    claims = {one.name: one.persistent_volume_claim.claim_name for one in pod.volumes if one.persistent_volume_claim}
    mounts = {one.mount_path: one.name for one in container.volume_mounts}
    assert claims[mounts["/srv/backup/.backups"]] == "backup-sets"
    assert mounts["/srv/backup/backup.yaml"] == "settings"
    assert container.command == ["/usr/bin/env"]

    carried_out(container.args)

    assert stored(an_instance, run).status == dg.DagsterRunStatus.SUCCESS


def test_the_monitoring_learns_that_a_job_has_failed_or_is_gone(
    an_instance: dg.DagsterInstance, api: KubernetesApi
) -> None:
    run = launch(an_instance, a_run(an_instance))
    (name,) = api.jobs
    assert health(an_instance, run) == WorkerStatus.RUNNING

    api.statuses[name] = {"failed": 1}
    assert health(an_instance, run) == WorkerStatus.FAILED
    api.statuses[name] = {"succeeded": 1}
    assert health(an_instance, run) == WorkerStatus.FAILED  # the job is over, and the run is not
    del api.jobs[name]
    assert health(an_instance, run) == WorkerStatus.NOT_FOUND


def test_a_run_is_not_lost_while_nobody_can_say_how_it_is(an_instance: dg.DagsterInstance, api: KubernetesApi) -> None:
    run = launch(an_instance, a_run(an_instance))
    api.broken = True
    assert health(an_instance, run) == WorkerStatus.RUNNING


def test_a_run_that_is_ended_takes_its_job_away(an_instance: dg.DagsterInstance, api: KubernetesApi) -> None:
    run = launch(an_instance, a_run(an_instance))
    assert an_instance.run_launcher.terminate(run.run_id)
    assert api.jobs == {}


def test_a_run_of_the_command_line_is_neither_judged_nor_ended(
    an_instance: dg.DagsterInstance, api: KubernetesApi
) -> None:
    run = a_run(an_instance, {STARTED_BY: COMMAND_LINE})
    assert health(an_instance, run) == WorkerStatus.RUNNING
    assert not an_instance.run_launcher.terminate(run.run_id)
    assert stored(an_instance, run).status == dg.DagsterRunStatus.STARTING
