"""The live doors as others use them: a browser's own WebSocket and fetch, and the `websockets` library.

Nothing of ours runs on their side. All go the same way: token, subscription, a large event compressed, a break, and on
from the last cursor.
"""

import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from playwright.sync_api import Browser, Page
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from shared.messages import new_id
from tests.browser.conftest import Site

LARGE = "a long story " * 2000

# What a page would hold; `live` is all that the tests call.
CLIENT = """
  const text = async (data) => typeof data === "string" ? data
    : new Response(data.stream().pipeThrough(new DecompressionStream("deflate"))).text();

  // A queue of what arrives, and a promise for whoever is ahead of it.
  const queue = () => {
    const arrived = [], waiting = [];
    return {
      put: (item) => waiting.length ? waiting.shift()(item) : arrived.push(item),
      take: () => arrived.length ? Promise.resolve(arrived.shift()) : new Promise((done) => waiting.push(done)),
    };
  };

  window.live = {
    socket(url, token) {
      const got = queue(), socket = new WebSocket(url, ["switchyard.v1", `token.${token}`]);
      let before = Promise.resolve();
      // Reading a Blob takes time; what comes after it waits.
      socket.onmessage = ({ data }) => {
        before = before.then(async () => {
          const message = JSON.parse(await text(data));
          if ("cursor" in message) localStorage.cursor = message.since ?? message.cursor;
          got.put({ message, compressed: typeof data !== "string" });
        });
      };
      socket.onclose = ({ code, reason }) => before.then(() => got.put({ code, reason }));
      live.take = got.take;
      live.send = (message) => socket.send(JSON.stringify(message));
      live.close = () => socket.close(1000);
    },

    async events(url, headers) {
      const stop = new AbortController();
      const answer = await fetch(url, { headers, signal: stop.signal });
      if (!answer.ok) return { status: answer.status, problem: await answer.json() };
      const got = queue();
      live.take = got.take;
      live.close = () => stop.abort();
      (async () => {
        let rest = "";
        for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
          const blocks = (rest + piece).split("\\n\\n");
          rest = blocks.pop();
          for (const block of blocks) {
            const fields = Object.fromEntries(block.split("\\n").map((line) => line.split(/: (.*)/s, 2)));
            if (fields.id) localStorage.place = fields.id;
            if (fields.data) got.put({ id: fields.id, message: JSON.parse(fields.data) });
          }
        }
        got.put({ ended: true });
      })().catch(() => got.put({ ended: false }));
      return { status: answer.status, type: answer.headers.get("content-type") };
    },
  };
"""


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """A page on an allowed origin that holds this script and nothing else."""
    context = browser.new_context()
    context.set_default_timeout(15_000)
    context.add_init_script(CLIENT)
    page = context.new_page()
    page.goto(f"{site.url}/health/live")
    yield page
    context.close()


@pytest.fixture
def session(site: Site) -> str:
    """A new session."""
    name = f"live-{new_id()}"
    site.command("create_session", session_id=name)
    return name


@pytest.fixture
def show(site: Site) -> Callable[..., str]:
    """Asks for tokens."""

    def ask(agent_id: str, **more: Any) -> str:
        headers = {"X-API-Key": site.key}
        answer = httpx.post(f"{site.url}/api/tokens", json={"agent_id": agent_id, **more}, headers=headers, timeout=10)
        assert answer.status_code in (200, 201), answer.text
        token: str = answer.json()["token"]
        return token

    return ask


def remember(site: Site, session: str, key: str, content: str) -> None:
    site.command("store_memory", session_id=session, type="fact", key=key, content=content)


def take(page: Page) -> dict[str, Any]:
    """What arrives next in the page."""
    got: dict[str, Any] = page.evaluate("live.take()")
    return got


def subscribe(page: Page, session: str, **more: Any) -> dict[str, Any]:
    page.evaluate("(message) => live.send(message)", {"type": "subscribe", "topics": [f"memory.{session}.#"], **more})
    return dict(take(page)["message"])


def key_of(event: dict[str, Any]) -> str:
    assert event["type"] == "memory_update"
    return str(event["exchange"]["key"])


def test_a_browser_listens_compressed_and_goes_on_after_a_reload(
    page: Page, site: Site, session: str, show: Callable[..., str]
) -> None:
    token = show("eve", kind="human")
    open_socket = "([url, token]) => live.socket(url, token)"
    page.evaluate(open_socket, [site.gateway_url(), token])
    assert take(page)["message"]["agent_id"] == "eve"
    assert subscribe(page, session, deflate=True)["type"] == "subscribed"
    remember(site, session, "small", "a word")
    remember(site, session, "large", LARGE)
    small, large = take(page), take(page)
    assert (key_of(small["message"]), small["compressed"]) == ("small", False)
    assert (key_of(large["message"]), large["compressed"]) == ("large", True)
    assert large["message"]["exchange"]["content"] == LARGE
    page.reload()
    place = int(page.evaluate("localStorage.cursor"))
    remember(site, session, "meanwhile", LARGE)
    page.evaluate(open_socket, [site.gateway_url(), token])
    assert take(page)["message"]["type"] == "connected"
    assert subscribe(page, session, deflate=True, since=place)["recovered"] is True
    missed = take(page)
    assert (key_of(missed["message"]), missed["compressed"]) == ("meanwhile", True)
    page.evaluate("live.close()")
    assert take(page)["code"] == 1000


def test_a_browser_sees_why_it_was_closed(page: Page, site: Site, show: Callable[..., str]) -> None:
    page.evaluate("([url, token]) => live.socket(url, token)", [site.gateway_url(), "nonsense"])
    assert take(page)["code"] == 4401
    page.evaluate("([url, token]) => live.socket(url, token)", [site.gateway_url(), show("eve", kind="human")])
    assert take(page)["message"]["type"] == "connected"
    page.evaluate("live.send({ type: 'ping', padding: 'x'.repeat(70000) })")
    assert take(page) == {"code": 4413, "reason": "a message holds at most 65536 bytes"}


def events_url(site: Site, session: str) -> str:
    door = site.gateway_url().replace("ws", "http", 1).removesuffix("/ws")
    return f"{door}/events?{urlencode({'topics': f'memory.{session}.#'})}"


def test_a_browser_streams_events_and_goes_on_by_the_last_id(
    page: Page, site: Site, session: str, show: Callable[..., str]
) -> None:
    headers = {"Authorization": f"Bearer {show('eve', kind='human')}"}
    stream = "([url, headers]) => live.events(url, headers)"
    began = page.evaluate(stream, [events_url(site, session), headers])
    assert began == {"status": 200, "type": "text/event-stream"}
    assert [take(page)["message"]["type"] for _ in range(2)] == ["connected", "subscribed"]
    remember(site, session, "large", LARGE)
    first = take(page)
    assert (key_of(first["message"]), first["id"]) == ("large", str(first["message"]["cursor"]))
    page.evaluate("live.close()")
    assert take(page) == {"ended": False}
    remember(site, session, "meanwhile", "a word")
    page.evaluate(
        stream, [events_url(site, session), {**headers, "Last-Event-ID": page.evaluate("localStorage.place")}]
    )
    assert [take(page)["message"]["type"] for _ in range(2)] == ["connected", "subscribed"]
    assert key_of(take(page)["message"]) == "meanwhile"
    refused = page.evaluate(stream, [events_url(site, session), {"Authorization": "Bearer nonsense"}])
    assert (refused["status"], refused["problem"]["code"]) == (401, "unauthorized")


def receive(socket: ClientConnection) -> tuple[dict[str, Any], bool]:
    """The next message, and whether it came compressed."""
    data = socket.recv(timeout=15)
    if isinstance(data, str):
        return json.loads(data), False
    return json.loads(zlib.decompress(data)), True


def test_the_websockets_library_goes_the_same_way(site: Site, session: str, show: Callable[..., str]) -> None:
    token = show("rex", permission="active")
    subscription = {"type": "subscribe", "topics": [f"memory.{session}.#"], "deflate": True}
    with connect(site.gateway_url(), subprotocols=["switchyard.v1", f"token.{token}"]) as socket:  # type: ignore[list-item]
        assert receive(socket)[0]["agent_id"] == "rex"
        socket.send(json.dumps(subscription))
        assert receive(socket)[0]["type"] == "subscribed"
        remember(site, session, "small", "a word")
        remember(site, session, "large", LARGE)
        (small, small_packed), (large, large_packed) = receive(socket), receive(socket)
        assert (key_of(small), small_packed, key_of(large), large_packed) == ("small", False, "large", True)
    remember(site, session, "meanwhile", LARGE)
    with connect(site.gateway_url(), additional_headers={"Authorization": f"Bearer {token}"}) as socket:
        receive(socket)
        socket.send(json.dumps({**subscription, "since": large["cursor"]}))
        assert receive(socket)[0]["recovered"] is True
        assert (key_of(event := receive(socket)[0]), event["exchange"]["content"]) == ("meanwhile", LARGE)
    with connect(site.gateway_url()) as socket, pytest.raises(ConnectionClosed) as closed:
        socket.send(json.dumps(subscription))
        socket.recv(timeout=15)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401
