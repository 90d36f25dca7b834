"""What the Compose files promise, without an engine; test_compose.py holds them against a real one."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from backup_assets.cli.arguments import parser
from backup_assets.cli.serve import CODE_DEFAULTS
from backup_assets.instance import instance_config

DOCKER = Path(__file__).parents[2] / "docker"
SERVICES = ("setup", "storage", "code", "webserver", "daemon")
OURS = ("code", "webserver", "daemon")


def compose(name: str) -> dict[str, Any]:
    return yaml.safe_load((DOCKER / name).read_text())


@pytest.fixture
def services() -> dict[str, dict[str, Any]]:
    return compose("compose.yaml")["services"]


def test_there_are_exactly_the_services_of_the_design(services: dict[str, dict[str, Any]]) -> None:
    assert set(services) == set(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_can_write_only_where_it_has_to_and_become_nobody_else(
    services: dict[str, dict[str, Any]], name: str
) -> None:
    service = services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", OURS)
def test_a_service_runs_a_command_that_the_program_takes(services: dict[str, dict[str, Any]], name: str) -> None:
    parsed = parser().parse_args(services[name]["command"])
    assert (parsed.function, parsed.service) == ("serve", name)


def test_every_service_that_stays_is_checked_and_started_again(services: dict[str, dict[str, Any]]) -> None:
    for name in ("storage", *OURS):
        assert services[name]["healthcheck"]["test"]
        assert services[name]["restart"] == "unless-stopped"


def test_only_the_ui_is_published_and_on_this_machine_alone(services: dict[str, dict[str, Any]]) -> None:
    assert {name for name in services if "ports" in services[name]} == {"webserver"}
    assert all(port.startswith("127.0.0.1:") for port in services["webserver"]["ports"])


def test_only_the_code_location_has_settings_secrets_and_sets(services: dict[str, dict[str, Any]]) -> None:
    for name in ("webserver", "daemon"):
        assert services[name]["volumes"] == ["dagster:/srv/backup/var", "storage-secret:/srv/storage-secret:ro"]
        assert "secrets" not in services[name]
    assert services["code"]["secrets"]


def test_no_variable_holds_a_password(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            assert "PASSWORD" not in variable or variable.endswith("_FILE"), name
            assert not re.search(r"://[^/@]*:[^/@]*@", value), variable


def test_all_services_see_one_installation(services: dict[str, dict[str, Any]]) -> None:
    environments = [services[name]["environment"] for name in OURS]
    assert environments[0] == environments[1] == environments[2]
    assert {environments[0][name] for name in CODE_DEFAULTS} == {"code", CODE_DEFAULTS["BACKUP_CODE_PORT"]}
    assert instance_config(environments[0]["BACKUP_INSTANCE"], environments[0])


def test_the_password_of_the_storage_is_made_for_the_address_that_is_used(services: dict[str, dict[str, Any]]) -> None:
    directory, host, port, database, user = services["setup"]["entrypoint"][2:]
    environment, server = services["code"]["environment"], services["storage"]["environment"]
    assert environment["DAGSTER_PG_URL"] == f"postgresql+psycopg2://{user}@{host}:{port}/{database}"
    assert environment["PGPASSFILE"] == f"{directory}/pgpass"
    assert server["POSTGRES_PASSWORD_FILE"] == f"{directory}/password"
    assert (server["POSTGRES_USER"], server["POSTGRES_DB"], host) == (user, database, "storage")


def test_runs_in_containers_of_their_own_get_a_complete_instance(services: dict[str, dict[str, Any]]) -> None:
    more = compose("compose.docker.yaml")["services"]
    assert set(more) == set(OURS)
    environments = [services[name]["environment"] | more[name]["environment"] for name in OURS]
    assert environments[0] == environments[1] == environments[2]
    assert b"ContainerRunLauncher" in instance_config(environments[0]["BACKUP_INSTANCE"], environments[0])
    assert {name for name in more if any("docker.sock" in volume for volume in more[name].get("volumes", ()))} == {
        "daemon"
    }
    assert more["code"]["container_name"] == environments[0]["BACKUP_DOCKER_VOLUMES_FROM"]


def test_the_demo_takes_away_what_an_operator_would_have_to_write() -> None:
    demo = compose("compose.demo.yaml")
    (mounted,) = [volume for volume in demo["services"]["code"]["volumes"] if isinstance(volume, dict)]
    assert (mounted["source"], mounted["target"]) == ("/dev/null", "/srv/backup/backup.yaml")
    assert (DOCKER / demo["secrets"]["db_password"]["file"]).is_file()


def test_every_file_that_the_image_is_made_of_reaches_the_engine() -> None:
    sent = {line[1:] for line in (DOCKER.parent / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    lines = (DOCKER / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    copied = [shlex.split(line) for line in lines if line.startswith("COPY ") and "--from=" not in line]
    assert {name for words in copied for name in words[1:-1]} == sent


def test_the_image_s_user_is_nobody_who_is_on_a_host_by_chance() -> None:
    assert "USER 10001:10001" in (DOCKER / "Dockerfile").read_text().splitlines()
