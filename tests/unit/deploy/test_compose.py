"""What the compose file and its neighbours must agree on."""

import re
from pathlib import Path

from shared import WORKERS

ROOT = Path(__file__).resolve().parents[3]
COMPOSE = (ROOT / "deploy" / "compose.yaml").read_text()


def test_every_worker_is_a_service_whose_health_is_asked_on_its_own_port_and_whose_metrics_are_read_there() -> None:
    blocks = dict(re.findall(r"(?ms)^  (\w+):\n(.*?)(?=^  \w+:|^\w|\Z)", COMPOSE))
    scraped = (ROOT / "deploy" / "observability" / "prometheus.yaml").read_text()
    for number, name in enumerate(WORKERS):
        assert f"services.{name}]" in blocks[name]
        assert f"127.0.0.1:{8011 + number}/health/ready" in blocks[name]
        assert f"names: [{name}], type: A, port: {8011 + number}" in scraped


def test_the_home_of_bots_clients_can_be_written_and_what_is_in_it_started() -> None:
    assert "target: claude_worker" in COMPOSE and "/tmp:exec," in COMPOSE
