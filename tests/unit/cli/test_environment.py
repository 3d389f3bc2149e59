"""The settings of a checkout."""

import stat
from pathlib import Path

import pytest

from cli.local.environment import (
    SECRETS,
    Environment,
    complete_env_file,
    example_secrets,
    free_environment,
    make_env_file,
)
from cli.local.processes import LocalError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def test_a_missing_env_file_is_made_with_random_secrets_for_our_eyes_only(file: Path) -> None:
    assert make_env_file(file)

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    values = Environment.load(file, {}).values
    assert all(len(values[name]) >= 32 for name in SECRETS)
    assert example_secrets(values) == []
    assert "replace" not in file.read_text()


def test_two_env_files_share_no_secret(tmp_path: Path) -> None:
    texts = []
    for name in ("one", "two"):
        make_env_file(tmp_path / name)
        texts.append(Environment.load(tmp_path / name, {}).values)
    assert all(texts[0][name] != texts[1][name] for name in SECRETS)


def test_an_env_file_that_is_there_is_left_alone(file: Path) -> None:
    file.write_text("SWITCHYARD_API_KEY=mine\n")

    assert not make_env_file(file)

    assert file.read_text() == "SWITCHYARD_API_KEY=mine\n"


def test_secrets_that_are_set_nowhere_are_added_to_an_env_file(file: Path) -> None:
    file.write_text("SWITCHYARD_API_KEY=mine\nSWITCHYARD_SECRET=\n")
    environment = Environment.load(file, {"GITHUB_WEBHOOK_SECRET": "from outside"})

    assert complete_env_file(file, environment) == ["SWITCHYARD_SECRET", "SWITCHYARD_CALLBACK_SECRET"]

    values = Environment.load(file, {})
    assert values.get("SWITCHYARD_API_KEY") == "mine"
    assert len(values.get("SWITCHYARD_SECRET")) >= 32
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_example_is_a_whole_configuration_whose_secrets_are_known_for_what_they_are(file: Path) -> None:
    example = Environment.load(Path(__file__).parents[3] / ".env.example", {})

    assert example_secrets(example.values) == list(SECRETS)
    assert (example.ingress_port, example.gateway_port, example.workers_port) == (8000, 8001, 8011)


def test_the_environment_wins_over_the_file(file: Path) -> None:
    file.write_text("SWITCHYARD_INGRESS_PORT=9000\nSWITCHYARD_GATEWAY_PORT=9001\n")

    environment = Environment.load(file, {"SWITCHYARD_INGRESS_PORT": "9100"})

    assert (environment.ingress_port, environment.gateway_port) == (9100, 9001)


def test_workers_follow_the_ingress_unless_they_are_told_a_port(file: Path) -> None:
    moved = Environment({"SWITCHYARD_INGRESS_PORT": "9000", "SWITCHYARD_WORKERS_PORT": ""})
    assert moved.health_port("session_worker") == 9011
    assert moved.health_port("task_worker") == 9013
    assert moved.health_port("ingress") == 9000
    assert moved.with_values({"SWITCHYARD_WORKERS_PORT": "7000"}).health_port("memory_worker") == 7001


@pytest.mark.parametrize("text", ["http", "0", "70000", "-1"])
def test_a_port_that_is_none_is_named_with_its_setting(text: str) -> None:
    with pytest.raises(LocalError, match=f"SWITCHYARD_INGRESS_PORT={text} is no port"):
        _ = Environment({"SWITCHYARD_INGRESS_PORT": text}).ingress_port


def test_children_are_told_everything_a_default_would_decide() -> None:
    given = free_environment(SWITCHYARD_DATA="here")
    told = given.for_children()
    assert Path(told["SWITCHYARD_DATA"]).is_absolute()
    assert told["SWITCHYARD_WORKERS_PORT"] == str(given.ingress_port + 11)
    assert told["DATABASE_URL"] == ""
    assert told["SWITCHYARD_LOG_FORMAT"] == "console"
