"""The HTTP API and the WebSocket of a running Switchyard, as the commands here use them."""

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx

from cli.local.environment import Environment

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

SUBPROTOCOL = "switchyard.v1"


class CallFailed(Exception):
    """A request that was refused, or that nobody answered; the text says why."""

    def __init__(self, text: str, status: int | None = None, problem: Any = None) -> None:
        super().__init__(text)
        self.status = status
        self.problem = problem

    @property
    def exit_code(self) -> int:
        """What a command that ends with this exits with, as `cli.screen.EXIT_CODES` tells it."""
        if self.status in (None, 502, 503, 504):
            return 3
        return 4 if self.status == 404 else 1


class Client:
    """The doors of one Switchyard, with the bootstrap key. Every method raises `CallFailed`."""

    def __init__(self, environment: Environment) -> None:
        self.api_url = environment.api_url
        self.gateway_url = environment.gateway_url
        key = environment.get("SWITCHYARD_API_KEY")
        self._http = httpx.Client(base_url=self.api_url, headers={"X-API-Key": key} if key else {}, timeout=70)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request, whatever the status of its answer."""
        try:
            return self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            text = f"{self.api_url} does not answer ({error or type(error).__name__}). Is it running? `make up`"
            raise CallFailed(text) from None

    def get(self, path: str, **params: Any) -> Any:
        """The JSON of a page."""
        return _checked(self.request("GET", path, params=params))

    def command(
        self, name: str, data: Mapping[str, Any], *, wait_s: float = 10, message_id: str | None = None
    ) -> dict[str, Any]:
        """Run a command and return its result; `{"message_id", "status"}` when it was accepted and is not done yet."""
        headers = {"Prefer": f"wait={wait_s:g}" if wait_s > 0 else "respond-async"}
        if message_id:
            headers["Idempotency-Key"] = message_id
        answer: dict[str, Any] = _checked(self.request("POST", f"/api/commands/{name}", json=data, headers=headers))
        return answer

    def ask(self, name: str, data: Mapping[str, Any], noun: str, *, message_id: str | None = None) -> Any:
        """What stands under `noun` in a command's result; CallFailed also when no reply came in time."""
        answer = self.command(name, data, message_id=message_id)
        if noun not in answer:
            raise CallFailed(f"{name} was accepted, but no worker has answered yet (`switchyard status` shows them)")
        return answer[noun]

    def socket_token(self, agent_id: str | None = None) -> str:
        """A token that may watch everything."""
        who = agent_id or f"cli-{os.getpid()}-{secrets.token_hex(3)}"
        body = {"agent_id": who, "kind": "human", "permission": "observer"}
        token: str = _checked(self.request("POST", "/api/tokens", json=body))["token"]
        return token

    @contextmanager
    def socket(self, topics: list[str], since: int | str | None = None) -> Iterator["Feed"]:
        """A WebSocket that is subscribed to these topics."""
        from websockets.exceptions import WebSocketException
        from websockets.sync.client import connect

        token = self.socket_token()
        try:
            with connect(
                self.gateway_url,
                subprotocols=[SUBPROTOCOL],  # type: ignore[list-item]
                additional_headers={"Authorization": f"Bearer {token}"},
                max_size=16 * 1024 * 1024,
            ) as connection:
                feed = Feed(connection)
                feed.subscribe(topics, since)
                yield feed
        except (OSError, WebSocketException) as error:
            raise CallFailed(f"{self.gateway_url}: {error}") from None


class Feed:
    """The frames of one connection."""

    def __init__(self, connection: "ClientConnection") -> None:
        self._connection = connection
        self.hello: dict[str, Any] = self.next(10)

    def subscribe(self, topics: list[str], since: int | str | None = None) -> dict[str, Any]:
        """Ask for topics, and return the server's `subscribed`; CallFailed when it says no."""
        frame: dict[str, Any] = {"type": "subscribe", "topics": topics, "mode": "everything"}
        if since is not None:
            frame["since"] = since
        self._connection.send(json.dumps(frame))
        answer = self.next(10)
        if answer["type"] != "subscribed":
            raise CallFailed(f"the gateway refused the subscription: {answer.get('message', answer)}")
        return answer

    def next(self, seconds: float | None = None) -> dict[str, Any]:
        """The next frame; CallFailed when none comes in time."""
        try:
            frame: dict[str, Any] = json.loads(self._connection.recv(seconds))
        except TimeoutError:
            raise CallFailed(f"nothing came over the WebSocket within {seconds:g} s") from None
        return frame


def _checked(response: httpx.Response) -> Any:
    """The JSON of a good answer; CallFailed with the problem document's words otherwise."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if response.is_success:
        return body
    title = (body or {}).get("detail") or (body or {}).get("title") or response.text[:300]
    code = (body or {}).get("code")
    raise CallFailed(f"{response.status_code} {code or response.reason_phrase}: {title}", response.status_code, body)
