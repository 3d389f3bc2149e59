"""Settings from the environment."""

import pytest
from pydantic import ValidationError

from shared.settings import DoorSettings, Settings


@pytest.mark.parametrize("kind", [Settings, DoorSettings])
def test_a_wrong_setting_is_named_and_no_secret_is_shown(
    kind: type[Settings], monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("no .env"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("AMQP_URL", "amqp://user:hunter2@broker/")
    monkeypatch.setenv("SWITCHYARD_SECRET", "hunter2")
    with pytest.raises(ValidationError, match=r"DATABASE_URL|SWITCHYARD_SECRET") as refused:
        kind()
    assert "hunter2" not in str(refused.value)


def test_the_workers_ports_follow_each_other() -> None:
    urls = {"DATABASE_URL": "postgresql://x/y", "AMQP_URL": "amqp://x/"}
    assert Settings(**urls, SWITCHYARD_INGRESS_PORT=9000).worker_port("session_worker") == 9011
    assert Settings(**urls, SWITCHYARD_WORKERS_PORT=7000).worker_port("task_worker") == 7002
