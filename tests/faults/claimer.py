"""Works off the tasks of a load, as an agent does: claims, and says that they are done."""

import asyncio
from contextlib import suppress
from typing import Any

import httpx

from shared.messages import new_id
from tests.faults.kinds import AGENT
from tests.faults.system import System

# Kept short, so that an asker whose answer is lost with a killed worker soon asks again.
WAIT_SECONDS = 1.0


class Claimer:
    """Claims and completes until it is closed; asks again under the same id until it is answered."""

    def __init__(self, system: System, session_id: str) -> None:
        self._session_id = session_id
        headers = {"X-API-Key": system.stack.api_key, "Prefer": "wait=3"}
        self._http = httpx.AsyncClient(base_url=system.stack.api_url, headers=headers, timeout=10)
        self._working: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to work, unless it does already."""
        if self._working is None:
            self._working = asyncio.ensure_future(self._work())

    async def close(self) -> None:
        """Stop working; raises what went wrong meanwhile."""
        if self._working is not None:
            self._working.cancel()
            with suppress(asyncio.CancelledError):
                await self._working
            self._working = None
        await self._http.aclose()

    async def _work(self) -> None:
        claim = {
            "agent_name": AGENT, "worker_id": "w", "session_id": self._session_id, "count": 50,
            "wait_s": WAIT_SECONDS,
        }  # fmt: skip
        while True:
            claimed = await self._ask("claim_task", claim)
            tasks = claimed.json()["tasks"]
            await asyncio.gather(
                *(
                    self._ask("complete_task", {name: task[name] for name in ("task_id", "lease_token")})
                    for task in tasks
                )
            )

    async def _ask(self, name: str, data: dict[str, Any]) -> httpx.Response:
        headers = {"Idempotency-Key": new_id()}
        while True:
            with suppress(httpx.TransportError):
                answer = await self._http.post(f"/api/commands/{name}", json=data, headers=headers)
                if answer.status_code not in (202, 503, 504):
                    assert answer.status_code in (200, 409), answer.text
                    return answer
            # A copy for each time it is asked while the broker is away: not too often.
            await asyncio.sleep(0.4)


class WaitingClaim:
    """A claim that waits for a task of a session that has none, while something happens to its worker."""

    def __init__(self, http: httpx.AsyncClient, key: dict[str, str], session_id: str) -> None:
        self._http = http
        self._key = key
        self._claim = {"agent_name": "codex", "worker_id": "w", "session_id": session_id}
        self._message_id = new_id()
        self._asked: asyncio.Task[httpx.Response] | None = None

    async def begin(self, *, patience: float) -> None:
        """Return when it waits; its sender does so for `patience` seconds."""
        self._asked = asyncio.ensure_future(self._send({**self._claim, "wait_s": 30}, self._message_id, patience))
        # Commands are taken in their order: when this one is answered, the other one has found nothing.
        assert (await self._send(self._claim, new_id(), 20)).json() == {"tasks": []}
        assert not self._asked.done()

    async def answered(self) -> httpx.Response:
        """The answer, once it is there."""
        assert self._asked is not None
        return await self._asked

    async def repeated(self) -> list[str]:
        """The tasks that the same claim, sent again under its id until it is answered, is given."""
        while (answer := await self._send({**self._claim, "wait_s": 30}, self._message_id, 5)).status_code != 200:
            assert answer.status_code in (202, 503), answer.text
            await asyncio.sleep(0.1)
        return [task["task_id"] for task in answer.json()["tasks"]]

    async def _send(self, data: dict[str, Any], message_id: str, wait: float) -> httpx.Response:
        headers = {**self._key, "Idempotency-Key": message_id, "Prefer": f"wait={wait:g}"}
        return await self._http.post("/api/commands/claim_task", json=data, headers=headers)
