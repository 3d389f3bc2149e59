"""The doors for questions and for writes that are waited for, HTTP and MCP, while something behind them is away."""

from typing import Any

import httpx

from shared.messages import new_id
from tests.faults.load import Load
from tests.waiting import eventually_async


class Doors:
    """Asks and writes by each door, and remembers what was kept."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._kept: list[str] = []

    async def refuse_questions(self) -> None:
        """Each says that it can't answer now, and that it is worth trying again."""
        answer = await self._post("list_sessions", {})
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable"), answer.text
        assert (await self._tool_error("list_sessions", {}))["code"] == "unavailable"

    async def keep_writes(self) -> None:
        """Each takes a write, and says after the time its sender has that there is no reply yet."""
        by_http = await self._post("create_session", {}, new_id())
        assert (by_http.status_code, by_http.json()["status"]) == (202, "accepted"), by_http.text
        by_mcp = await self._tool_error("create_session", {})
        assert by_mcp["code"] == "timeout"
        self._kept += [by_http.json()["message_id"], by_mcp["details"]["message_id"]]

    async def assert_kept_writes_are_done(self) -> None:
        """What was kept has happened by now, or does soon."""
        assert self._kept
        for message_id in self._kept:

            async def is_done(message_id: str = message_id) -> bool:
                answer = await self._load.http.get(f"/api/commands/{message_id}", headers=self._load.key)
                return answer.status_code == 200 and answer.json()["status"] == "done"

            await eventually_async(is_done, 20, because=f"{message_id} being done")

    async def assert_keys_are_heard_of(self) -> None:
        """A key that is made works soon, and one that is revoked soon does not."""
        name = new_id()
        made = await self._load.command("create_key", {"name": name, "scopes": ["read"]}, expect=201)
        key = {"X-API-Key": made["secret"]}

        async def status() -> int:
            return (await self._load.http.post("/api/commands/list_sessions", json={}, headers=key)).status_code

        async def works() -> bool:
            return await status() == 200

        async def is_refused() -> bool:
            return await status() == 401

        await eventually_async(works, 5, because="the new key being known")
        await self._load.command("revoke_key", {"name": name})
        await eventually_async(is_refused, 5, because="the key being revoked")

    async def _post(self, name: str, data: dict[str, Any], message_id: str = "") -> httpx.Response:
        headers = {**self._load.key, "Prefer": "wait=1"} | ({"Idempotency-Key": message_id} if message_id else {})
        return await self._load.http.post(f"/api/commands/{name}", json=data, headers=headers)

    async def _tool_error(self, name: str, data: dict[str, Any]) -> dict[str, Any]:
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": data}}
        answer = await self._load.http.post("/mcp", json=call, headers={**self._load.key, "Prefer": "wait=1"})
        result = answer.json()["result"]
        assert result["isError"], result
        error: dict[str, Any] = result["structuredContent"]["error"]
        return error
