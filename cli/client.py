"""The HTTP API and the WebSocket of a running Switchyard, as the commands here use them."""

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from cli.local.environment import ENV_FILE, Environment

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

SUBPROTOCOL = "switchyard.v1"


class CallFailed(Exception):
    """A request that was refused, or that nobody answered; the text says what happened, `hint` what to do about it."""

    def __init__(self, text: str, status: int | None = None, answer: bytes | None = None, hint: str = "") -> None:
        """`answer` is the problem document as it came; without a status nobody answered, or not in time."""
        super().__init__(text)
        self.status = status
        self.text = answer
        self.hint = hint

    @property
    def problem(self) -> dict[str, Any]:
        """The problem document; empty when there was none."""
        try:
            document = json.loads(self.text or b"")
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}

    @property
    def fields(self) -> list[dict[str, Any]]:
        """What was wrong with which field, when more than the text can hold."""
        found = (self.problem.get("details") or {}).get("fields") or []
        # The text names the first five.
        return [field for field in found if isinstance(field, dict)] if len(found) > 5 else []

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
        self._key = environment.get("SWITCHYARD_API_KEY")
        headers = {b"X-API-Key": _as_typed(self._key)} if self._key else {}
        # Always plain HTTP on the loopback interface; and getting ready to check certificates takes as long as a
        # command.
        self._http = httpx.Client(base_url=self.api_url, headers=headers, timeout=70, trust_env=False, verify=False)  # noqa: S501

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

    @contextmanager
    def lines(self, path: str, params: Mapping[str, str], headers: Mapping[str, str]) -> Iterator[Iterator[str]]:
        """The lines of a page as they come; CallFailed also when it breaks off."""
        try:
            with self._http.stream("GET", path, params=params, headers=headers) as response:
                if not response.is_success:
                    response.read()
                    raise self._refused(response)
                yield response.iter_lines()
        except httpx.HTTPError as error:
            raise CallFailed(f"{self.api_url} does not answer ({error or type(error).__name__})") from None

    def text(self, method: str, path: str, **options: Any) -> bytes:
        """The text of a good answer, as it came."""
        response = self.request(method, path, **options)
        if response.is_success:
            return response.content
        raise self._refused(response)

    def get(self, path: str, **params: Any) -> Any:
        """The JSON of a page."""
        return json.loads(self.text("GET", path, params=params))

    def run(
        self,
        name: str,
        data: Mapping[str, Any] | bytes,
        *,
        wait_s: float = 10,
        message_id: str | None = None,
        sender: str | None = None,
    ) -> bytes:
        """Run a command and return its result as text; `{"message_id", "status"}` when accepted and not done yet.

        Data given as bytes is the JSON to send.
        """
        headers = {b"Prefer": _prefer(wait_s)}
        if message_id:
            headers[b"Idempotency-Key"] = _as_typed(message_id)
        if sender:
            headers[b"X-Agent-Id"] = _as_typed(sender)
        content = data if isinstance(data, bytes) else json.dumps(data).encode()
        return self.text("POST", f"/api/commands/{quote(name, safe='')}", content=content, headers=headers)

    def command(self, name: str, data: Mapping[str, Any], *, message_id: str | None = None) -> dict[str, Any]:
        """A command's result."""
        answer: dict[str, Any] = json.loads(self.run(name, data, message_id=message_id))
        return answer

    def result(
        self, name: str, data: Mapping[str, Any] | bytes, *, wait_s: float = 10, sender: str | None = None
    ) -> bytes:
        """A command's result as text; CallFailed also when no reply came in time."""
        return _done(name, self.run(name, data, wait_s=wait_s, sender=sender), wait_s)

    def post(self, path: str, body: Mapping[str, Any], *, wait_s: float = 10) -> bytes:
        """The text a path that runs a command answers with; CallFailed also when no reply came in time."""
        return _done(path, self.text("POST", path, json=body, headers={b"Prefer": _prefer(wait_s)}), wait_s)

    def ask(self, name: str, data: Mapping[str, Any], noun: str, *, message_id: str | None = None) -> Any:
        """What stands under `noun` in a command's result; CallFailed also when no reply came in time."""
        answer = self.command(name, data, message_id=message_id)
        if noun not in answer:
            raise CallFailed(f"{name} was accepted, but no worker has answered yet (`switchyard status` shows them)")
        return answer[noun]

    def socket_token(self, agent_id: str | None = None) -> str:
        """A token that may watch whatever the key may: with an admin's also sidebars, and what is for admins alone."""
        who = agent_id or f"cli-{os.getpid()}-{secrets.token_hex(3)}"
        body = {"agent_id": who, "kind": "human", "permission": "observer"}
        try:
            answer = self.text("POST", "/api/tokens", json={**body, "scopes": ["read", "admin"]})
        except CallFailed as error:
            if error.status != 403:
                raise
            answer = self.text("POST", "/api/tokens", json=body)
        token: str = json.loads(answer)["token"]
        return token

    def _refused(self, response: httpx.Response) -> CallFailed:
        """The refusal in a bad answer, with the problem document's words."""
        failed = CallFailed("", response.status_code, response.content)
        problem = failed.problem
        title = problem.get("detail") or problem.get("title") or response.text[:300]
        code = problem.get("code") or response.reason_phrase
        return CallFailed(
            f"{response.status_code} {code}: {title}", response.status_code, response.content, self._hint(response)
        )

    def _hint(self, response: httpx.Response) -> str:
        """What to do about a refusal that is not about what was asked but about who asks, and when."""
        match response.status_code:
            case 401 if not self._key:
                return f"No key was sent: SWITCHYARD_API_KEY is neither in the environment nor in {ENV_FILE.resolve()}."
            case 401:
                source = "the environment" if os.environ.get("SWITCHYARD_API_KEY") else str(ENV_FILE.resolve())
                return f"The key is SWITCHYARD_API_KEY of {source}; `switchyard doctor` tries it."
            case 403:
                return "`switchyard keys list` shows what each key may do."
            case 429:
                return f"Try again in {response.headers.get('Retry-After', 'some')} s."
            case 502 | 503 | 504:
                return "`switchyard status` shows what is away."
        return ""

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
        self._began_at = -1
        self.hello: dict[str, Any] = self.next(10)
        self._began_at = self.hello.get("cursor", -1)

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

    def text(self, seconds: float | None = None) -> str:
        """The text of the next frame; CallFailed when none comes in time."""
        try:
            text = self._connection.recv(seconds, decode=True)
        except TimeoutError:
            raise CallFailed(f"nothing came over the WebSocket within {seconds:g} s") from None
        if '"critical"' in text:
            self._acknowledge(json.loads(text))
        return text

    def _acknowledge(self, frame: dict[str, Any]) -> None:
        """Say that a critical event was taken; nobody waits for that of those before our time."""
        named = frame.get("message_id")
        if named and frame.get("priority") == "critical" and frame.get("cursor", -1) > self._began_at:
            self._connection.send(json.dumps({"type": "ack", "message_id": named}))

    def next(self, seconds: float | None = None) -> dict[str, Any]:
        """The next frame; CallFailed when none comes in time."""
        frame: dict[str, Any] = json.loads(self.text(seconds))
        return frame


def _done(what: str, text: bytes, wait_s: float) -> bytes:
    """The text of an answer that is a result; CallFailed when it only says that the command was accepted."""
    answer = json.loads(text)
    if answer.get("status") == "accepted" and answer.keys() == {"message_id", "status"}:
        raise CallFailed(
            f"{what} was accepted as {answer['message_id']} and will be done; no worker answered in {wait_s:g} s",
            hint="`switchyard status` shows what is away.",
        )
    return text


def _prefer(wait_s: float) -> bytes:
    return b"wait=%g" % wait_s if wait_s > 0 else b"respond-async"


def _as_typed(text: str) -> bytes:
    """The bytes of a header's value, as they came from the command line or the environment."""
    return text.encode(errors="surrogateescape")
