"""What `switchyard status` shows of the gateways: which there are, who is connected, and what is wrong."""

import http.client
import json
from typing import Any

from rich.markup import escape
from rich.table import Table

from cli.screen import BAD, harmless, out

SECONDS = 5.0


def state(port: int, api_key: str) -> dict[str, Any] | None:
    """The state of the gateway on a port, without the connections; None when it can't be had."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", "/state?limit=1", headers={"X-API-Key": api_key})
        answer = connection.getresponse()
        body = answer.read()
        found = json.loads(body) if answer.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    if not isinstance(found, dict):
        return None
    return {name: found[name] for name in ("gateway", "gateways", "problems")} | {"agents": len(found["agents"])}


def show(found: dict[str, Any]) -> None:
    """Print it."""
    table = Table("gateway", "connections", "slow", "cursor", "memory", "cpu", box=None, pad_edge=False)
    for each in found["gateways"]:
        table.add_row(
            escape(each["gateway_id"]),
            str(each.get("connections_total", "?")),
            str(each.get("slow", "?")),
            str(each.get("cursor", "?")),
            f"{each.get('memory_bytes', 0) // 1_000_000} MB",
            f"{each.get('cpu', 0):.0%}",
        )
    out.print(table)
    kinds = found["gateway"]["by_kind"]
    out.print(f"{found['agents']} agents; here {kinds['human']} connections of people, {kinds['agent']} of agents.")
    for problem in found["problems"]:
        out.print(f"{BAD} {escape(harmless(problem))}")
