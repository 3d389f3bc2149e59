"""One Chromium for a module, and pages that fail their test on console errors, policy violations, foreign requests."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from cli.local.environment import ROOT
from cli.local.postgres import Postgres
from cli.local.rabbitmq import RabbitMQ
from cli.local.stack import Stack
from shared.auth import login_code
from standins.messages_api import MessagesAPI
from tests.chromium import chromium
from tests.conftest import copy_of, running_stack, vhost_of

__all__ = ["chromium"]

# The status display comes every 5 s, and machines may be busy.
expect.set_options(timeout=15_000)

# What a browser would otherwise ask of the internet by itself.
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
)
WATCH_PAGE = """
  window.sockets = [];
  window.WebSocket = class extends WebSocket {
    constructor(...given) { super(...given); window.sockets.push(this); }
  };
  window.violations = [];
  document.addEventListener("securitypolicyviolation", (event) => window.violations.push(
    `${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
"""


@dataclass(frozen=True)
class Site:
    """The running stack as a person meets it: its address, a key, and what the terminal printed."""

    url: str
    key: str
    secret: str

    def login_link(self) -> str:
        """A fresh one-use sign-in link."""
        return f"{self.url}/#login={login_code(self.secret)}"

    def gateway_url(self) -> str:
        """What the ingress tells browsers to connect to."""
        return str(httpx.get(f"{self.url}/api/config", timeout=10).json()["gateway_url"])

    def command(self, name: str, /, **data: Any) -> dict[str, Any]:
        """Run a command over HTTP and return its result; AssertionError when it is refused."""
        answer = httpx.post(f"{self.url}/api/commands/{name}", json=data, headers={"X-API-Key": self.key}, timeout=30)
        assert answer.status_code in (200, 201), answer.text
        result: dict[str, Any] = answer.json()
        return result


@dataclass
class Watched:
    """What a page did besides what was asked of it."""

    site: Site
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    expected: list[re.Pattern[str]] = field(default_factory=list)

    def on_console(self, message: ConsoleMessage) -> None:
        """Note an error or a warning of the console, unless it was expected."""
        text = f"{message.text} ({message.location.get('url', '')})"
        if message.type in ("error", "warning") and not any(pattern.search(text) for pattern in self.expected):
            self.errors.append(text)

    def on_request(self, request: Request) -> None:
        """Note a request that leaves this machine, or goes to another server on it."""
        self.note_address(request.url)

    def note_address(self, url: str) -> None:
        """Note an address that is neither the ingress nor the gateway it names."""
        if url.startswith(("data:", "blob:")):
            return
        own = self.site.gateway_url() if url.startswith("ws") else self.site.url
        if urlsplit(url).netloc != urlsplit(own).netloc:
            self.foreign.append(url)


@pytest.fixture(scope="package")
def stack(
    postgres: Postgres,
    template: str,
    rabbitmq: RabbitMQ,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Stack]:
    """Every service, started once for all of these tests, which therefore name sessions and agents of their own.

    Its bots ask a stand-in of the Messages API; one of them must be allowed its tool.
    """
    config = tmp_path_factory.mktemp("config") / "switchyard.toml"
    config.write_text((ROOT / "switchyard.toml").read_text() + '\n[bots.clerk]\nask_tools = ["chat_stats"]\n')
    with MessagesAPI() as api:
        settings = {
            "SWITCHYARD_CONFIG": str(config),
            "ANTHROPIC_BASE_URL": api.url,
            "ANTHROPIC_API_KEY": "sk-stand-in",
        }
        for database_url in copy_of(postgres, template):
            for amqp_url in vhost_of(rabbitmq):
                yield from running_stack(database_url, amqp_url, tmp_path_factory, request, **settings)


@pytest.fixture(scope="package")
def site(stack: Stack) -> Site:
    """The stack as a person meets it."""
    return Site(stack.api_url, stack.api_key, stack.environment.get("SWITCHYARD_SECRET"))


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """One browser for the module; each page has a context, and so a storage, of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, site: Site) -> Iterator[Callable[..., Page]]:
    """Opens pages of the dashboard: `visit(path, width=…, expect=[patterns of console errors the test provokes])`."""
    opened: list[tuple[Page, Watched]] = []

    def open_page(
        path: str = "/", *, width: int = 1280, height: int = 860, dark: bool = False, expect: tuple[str, ...] = ()
    ) -> Page:
        scheme = "dark" if dark else "light"
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        context.set_default_timeout(15_000)
        context.add_init_script(WATCH_PAGE)
        page = context.new_page()
        watched = Watched(site, expected=[re.compile(pattern) for pattern in expect])
        page.on("console", watched.on_console)
        page.on("pageerror", lambda error: watched.errors.append(f"uncaught: {error}"))
        page.on("request", watched.on_request)
        page.on("websocket", lambda socket: watched.note_address(socket.url))
        opened.append((page, watched))
        page.goto(path if path.startswith("http") else site.url + path)
        return page

    yield open_page
    for page, watched in opened:
        violations = page.evaluate("window.violations")
        page.context.close()
        assert watched.errors == []
        assert violations == []
        assert watched.foreign == []
