"""What is known of a running stack."""

import os
from pathlib import Path

import psutil
import pytest

from cli.local.environment import Environment
from cli.local.processes import LocalError
from cli.local.run_file import RunFile, present, servers

SERVICES = {"ingress": 9000, "ws_gateway": 9001, "session_worker": 9011}


def test_the_ports_of_the_running_stack_stand_for_those_of_the_file(tmp_path: Path) -> None:
    environment = Environment({"SWITCHYARD_DATA": str(tmp_path), "SWITCHYARD_INGRESS_PORT": "8000"})
    assert present(environment, {}).api_url == "http://127.0.0.1:8000"

    RunFile(tmp_path).write({"services": SERVICES})

    found = present(environment, {})
    assert (found.api_url, found.gateway_port, found.workers_port) == ("http://127.0.0.1:9000", 9001, 9011)
    told = {"SWITCHYARD_INGRESS_PORT": "8000"}
    assert present(environment, told).ingress_port == 8000


def test_a_file_that_a_killed_supervisor_left_counts_for_nothing(tmp_path: Path) -> None:
    file = RunFile(tmp_path)
    file.write({"services": SERVICES})
    created = str(psutil.Process(os.getpid()).create_time())
    file.path.write_text(file.path.read_text().replace(created, "1.0"))

    assert file.read() is None
    assert present(Environment({"SWITCHYARD_DATA": str(tmp_path)}), {}).ingress_port == 8000


def test_a_service_by_hand_uses_the_servers_of_the_running_stack_where_no_setting_names_any(tmp_path: Path) -> None:
    environment = Environment({"SWITCHYARD_DATA": str(tmp_path), "AMQP_URL": "", "DATABASE_URL": "postgresql://own"})
    with pytest.raises(LocalError, match="make up"):
        servers(environment)

    RunFile(tmp_path).write(
        {"services": SERVICES, "amqp_url": "amqp://embedded", "database_url": "postgresql://embedded"}
    )

    assert servers(environment) == {"DATABASE_URL": "postgresql://own", "AMQP_URL": "amqp://embedded"}
