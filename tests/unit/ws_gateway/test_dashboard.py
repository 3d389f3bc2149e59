"""The dashboard that is shipped for Grafana, beside the metrics there are."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
DASHBOARD = ROOT / "deploy/observability/grafana/dashboards/switchyard.json"
# The prefix that `Readings` puts before the names it is given.
GATEWAY = "switchyard_gateway_"


def test_every_metric_of_the_dashboard_is_one_of_ours() -> None:
    source = "".join(path.read_text() for folder in ("services", "shared") for path in (ROOT / folder).rglob("*.py"))
    defined = set(re.findall(r'"(switchyard_\w+)"', source))
    defined |= {GATEWAY + name for name in re.findall(r'readings\.(?:count|level)\(\s*"(\w+)"', source)}
    defined = {name.removesuffix("_total") for name in defined}
    shown = set(re.findall(r"switchyard_\w+", json.dumps(json.loads(DASHBOARD.read_text())["panels"])))
    assert {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in shown} <= defined


def test_no_panel_lies_on_another() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(taken)) == len(taken)


def test_every_metric_of_the_live_layer_is_documented() -> None:
    source = "".join(path.read_text() for path in (ROOT / "services/ws_gateway").rglob("*.py"))
    source += (ROOT / "services/session_worker/sidebar_metrics.py").read_text()
    ours = set(re.findall(r'"(switchyard_\w+?)(?:_total)?"', source)) - {"switchyard_gateway_"}
    ours |= {GATEWAY + name for name in re.findall(r'readings\.(?:count|level)\(\s*"(\w+)"', source)}
    documented = set(re.findall(r"`(switchyard_\w+)", (ROOT / "docs/live-operations.md").read_text()))
    assert ours == {name.removesuffix("_total") for name in documented}
