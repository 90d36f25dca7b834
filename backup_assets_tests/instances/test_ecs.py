"""Runs as ECS tasks, launched by the kind `ecs` in an AWS that moto pretends."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import dagster as dg
import pytest
from dagster._core.launcher.base import WorkerStatus
from moto.ecs.models import ecs_backends

from backup_assets.command_runs import COMMAND_LINE, STARTED_BY
from backup_assets_tests.aws.conftest import ACCOUNT, TOKYO, PretendedAws, aws, moto_address
from backup_assets_tests.docker.test_ecs import rendered
from backup_assets_tests.instances.conftest import InstanceOf
from backup_assets_tests.instances.launching import a_run, carried_out, launch, stored

__all__ = ["aws", "moto_address"]

BUCKET = "erp4-dagster-logs"


@dataclass
class Cluster:
    """A cluster with the task from which runs are launched: the webserver and the daemon."""

    client: Any
    subnet: str
    group: str

    def tasks(self) -> list[dict[str, Any]]:
        """Return the tasks of runs."""
        found = self.client.list_tasks(cluster="backups", family="backup-assets-run")["taskArns"]
        return self.client.describe_tasks(cluster="backups", tasks=found)["tasks"] if found else []

    def end(self, arn: str, code: int) -> None:
        """Let a task be over, as after its container was killed."""
        self.client.stop_task(cluster="backups", task=arn)
        task = ecs_backends[ACCOUNT][TOKYO].tasks["backups"][arn]
        task.last_status = task.desired_status = "STOPPED"
        for container in task.containers:
            container.exitCode = code  # type: ignore[attr-defined]


@pytest.fixture
def a_cluster_of_ecs(aws: PretendedAws, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    client, ec2 = aws.client("ecs"), aws.client("ec2")
    aws.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": TOKYO})
    subnet = ec2.describe_subnets()["Subnets"][0]
    group = ec2.create_security_group(GroupName="backups", Description="backups", VpcId=subnet["VpcId"])["GroupId"]
    client.create_cluster(clusterName="backups")
    for task in ("control", "code", "run"):
        client.register_task_definition(**rendered(f"{task}.json"))
    network = {"awsvpcConfiguration": {"subnets": [subnet["SubnetId"]], "securityGroups": [group]}}
    (control,) = client.run_task(
        cluster="backups",
        taskDefinition="backup-assets-control",
        launchType="FARGATE",
        networkConfiguration=network,
    )["tasks"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.endpoint_url)
    with metadata_of({"Name": "daemon"}, {"Cluster": control["clusterArn"], "TaskARN": control["taskArn"]}) as address:
        monkeypatch.setenv("ECS_CONTAINER_METADATA_URI_V4", address)
        yield Cluster(client, subnet["SubnetId"], group)


class metadata_of:  # noqa: N801 - used as a function
    """What a container on ECS can ask about itself and its task."""

    def __init__(self, container: dict[str, str], task: dict[str, str]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002 - as the base calls it

            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(task if self.path.endswith("/task") else container).encode())

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_address[1]}/v4/0"

    def __exit__(self, *raised: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def an_instance(instance_of: InstanceOf, a_cluster_of_ecs: Cluster) -> dg.DagsterInstance:
    return instance_of("ecs", BACKUP_ECS_RUN_TASK="backup-assets-run", DAGSTER_LOGS_BUCKET=BUCKET)


def test_a_run_is_a_task_of_its_own_definition_beside_the_one_that_launched_it(
    an_instance: dg.DagsterInstance, a_cluster_of_ecs: Cluster
) -> None:
    run = launch(an_instance, a_run(an_instance))

    (task,) = a_cluster_of_ecs.tasks()
    assert run.tags["ecs/task_arn"] == task["taskArn"]
    assert task["taskDefinitionArn"].rpartition("/")[2] == "backup-assets-run:1"
    assert task["launchType"] == "FARGATE"
    details = {one["name"]: one["value"] for one in task["attachments"][0]["details"]}
    assert details["subnetId"] == a_cluster_of_ecs.subnet
    assert len(a_cluster_of_ecs.client.list_task_definitions()["taskDefinitionArns"]) == 3
    (override,) = task["overrides"]["containerOverrides"]
    assert override["name"] == "run"
    assert "environment" not in override

    carried_out(override["command"])

    assert stored(an_instance, run).status == dg.DagsterRunStatus.SUCCESS


@pytest.mark.parametrize("code", [137, 0], ids=["killed", "ended in order, without the run's end"])
def test_the_monitoring_learns_that_a_task_is_over(
    an_instance: dg.DagsterInstance, a_cluster_of_ecs: Cluster, code: int
) -> None:
    run = launch(an_instance, a_run(an_instance))
    assert an_instance.run_launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING

    a_cluster_of_ecs.end(run.tags["ecs/task_arn"], code)

    found = an_instance.run_launcher.check_run_worker_health(run)
    assert found.status == WorkerStatus.FAILED


def test_a_run_that_is_ended_stops_its_task(an_instance: dg.DagsterInstance, a_cluster_of_ecs: Cluster) -> None:
    run = launch(an_instance, a_run(an_instance))

    assert an_instance.run_launcher.terminate(run.run_id)

    assert (
        a_cluster_of_ecs.client.describe_tasks(cluster="backups", tasks=[run.tags["ecs/task_arn"]])["tasks"][0][
            "desiredStatus"
        ]
        == "STOPPED"
    )


def test_a_run_of_the_command_line_is_neither_judged_nor_ended(an_instance: dg.DagsterInstance) -> None:
    run = a_run(an_instance, {STARTED_BY: COMMAND_LINE})
    assert an_instance.run_launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING
    assert not an_instance.run_launcher.terminate(run.run_id)


def test_outputs_are_stored_encrypted_and_read_by_another_container(
    an_instance: dg.DagsterInstance, aws: PretendedAws, tmp_path_factory: pytest.TempPathFactory
) -> None:
    manager = an_instance.compute_log_manager
    key = ["run", "compute_logs", "step"]
    with manager.capture_logs(key):
        print("what a step said", flush=True)

    s3 = aws.client("s3")
    (name,) = (one["Key"] for one in s3.list_objects_v2(Bucket=BUCKET)["Contents"] if one["Key"].endswith(".out"))
    stored_object = s3.head_object(Bucket=BUCKET, Key=name)
    assert name.startswith("dagster-logs/")
    assert stored_object["ServerSideEncryption"] == "aws:kms"
    # Another container has none of the local files.
    manager.local_manager._base_dir = str(tmp_path_factory.mktemp("another"))  # type: ignore[attr-defined]
    assert b"what a step said" in (manager.get_log_data(key).stdout or b"")
