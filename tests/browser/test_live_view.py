"""The live layer on the dashboard: who is connected, sidebars, and what everybody must know at once."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect
from websockets.sync.client import ClientConnection, connect

from shared.messages import new_id
from tests.browser.conftest import Site

LIVE = ".connection[data-phase=live]"
Visit = Callable[..., Page]


class Agent:
    """An agent on the WebSocket, by the `websockets` library."""

    def __init__(self, name: str, socket: ClientConnection) -> None:
        self.name = name
        self._socket = socket

    def say(self, **frame: Any) -> None:
        """Send a frame."""
        self._socket.send(json.dumps(frame))

    def run(self, command: str, **data: Any) -> None:
        """Send a command, whose answer nobody waits for."""
        self.say(type="command", message_id=new_id(), command=command, data=data)

    def hear(self, kind: str) -> dict[str, Any]:
        """The next frame of a type."""
        while True:
            frame: dict[str, Any] = json.loads(self._socket.recv(timeout=10))
            assert frame["type"] != "error", frame
            if frame["type"] == kind:
                return frame


@contextmanager
def agent(site: Site, name: str) -> Iterator[Agent]:
    """An agent that is connected, and hears of sidebars."""
    asked = {"agent_id": name, "permission": "active", "scopes": ["read", "publish"]}
    answer = httpx.post(f"{site.url}/api/tokens", json=asked, headers={"X-API-Key": site.key}, timeout=10)
    with connect(
        site.gateway_url(), additional_headers={"Authorization": f"Bearer {answer.json()['token']}"}
    ) as socket:
        each = Agent(name, socket)
        each.hear("connected")
        each.say(type="subscribe", topics=["sidebar.#"])
        each.hear("subscribed")
        yield each


def sign_in(page: Page, key: str) -> Page:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector(LIVE)
    return page


def fits(page: Page) -> bool:
    """Whether nothing sticks out at the side."""
    widths = page.evaluate("[innerWidth, document.documentElement.scrollWidth, document.body.scrollWidth]")
    return bool(max(widths) == widths[0])


@pytest.fixture
def sidebar(site: Site) -> str:
    """A new sidebar of the agent `rex-…`, who bears its name."""
    name = new_id()[-12:]
    site.command("create_session", session_id=f"live-{name}")
    site.command(
        "spawn_sidebar", session_id=f"live-{name}", sidebar_id=name, participants=[f"rex-{name}"],
        task_description=f"Why does {name} fail?",
    )  # fmt: skip
    return name


def test_whoever_opened_the_printed_link_sees_an_agent_come_and_go(visit: Visit, site: Site) -> None:
    page = visit(site.login_link(), width=390, height=844)
    page.wait_for_selector(LIVE)
    page.keyboard.press("2")
    expect(page).to_have_url(re.compile(r"\?view=live$"))
    name = f"rex-{new_id()}"
    row, line = page.locator(f"[data-agent={name}]"), page.locator(".connections tr", has_text=name)
    with agent(site, name) as rex:
        rex.say(type="agent_presence", status="working", current_context="counting wagons", specialties=["rails"])
        expect(row).to_contain_text("counting wagons")
        expect(row).to_contain_text("rails")
        expect(line).to_contain_text("100")
        expect(page.locator(".gateway[data-gateway]")).to_have_count(1)
        assert fits(page)
    expect(row).to_have_count(0)
    expect(line).to_have_count(0)


def test_a_sidebar_is_followed_joined_paused_and_merged(visit: Visit, site: Site, sidebar: str) -> None:
    page = sign_in(visit("/?view=sidebars"), site.key)
    page.get_by_role("button", name=f"Why does {sidebar} fail?").click()
    said, status = page.get_by_role("log"), page.locator(".pill")
    with agent(site, f"rex-{sidebar}") as rex:
        rex.run("post_to_sidebar", sidebar_id=sidebar, text="The <b>first</b> switch is set wrong")
        expect(said).to_contain_text("The <b>first</b> switch is set wrong")
        test = {"test_description": "Set it right", "result": "passed", "findings": "Ten of ten"}
        rex.run("report_test_result", sidebar_id=sidebar, **test)
        expect(said.locator(".exchange", has_text="Ten of ten").locator(".tag")).to_have_text("passed")

        page.get_by_title("Change the name you speak under").click()
        page.get_by_label("as", exact=True).fill("mira")
        page.keyboard.press("Enter")
        expect(page.locator(".own-name")).to_contain_text("mira")
        page.wait_for_selector(LIVE)
        page.get_by_role("button", name=f"@rex-{sidebar}").click()
        page.keyboard.type("and the second?")
        page.keyboard.press("Enter")
        expect(said.locator(".exchange[data-own=true]")).to_contain_text("and the second?")
        assert rex.hear("mention_route")["mention"]["author"] == "mira"

        page.get_by_role("button", name="Pause", exact=True).click()
        page.keyboard.type("for the night")
        page.keyboard.press("Enter")
        expect(status).to_have_text("paused")
        assert rex.hear("sidebar_pause")["reason"] == "for the night"
        page.get_by_role("button", name="Resume", exact=True).click()
        expect(status).to_have_text("active")

        page.set_viewport_size({"width": 390, "height": 844})
        page.get_by_role("button", name="Merge", exact=True).click()
        page.get_by_label("What was found").fill("Both were set wrong")
        assert fits(page)
        page.get_by_role("button", name="Merge it").click()
        expect(status).to_have_text("merged")
        assert rex.hear("sidebar_merge")["consolidated_findings"] == "Both were set wrong"
    expect(page.locator(".composer-closed")).to_contain_text("This sidebar is merged")
    page.reload()
    page.wait_for_selector(LIVE)
    expect(page.get_by_role("log").locator(".exchange")).to_have_count(3)
    assert page.locator("#app .said b", has_text="first").count() == 0


def test_a_key_that_only_reads_sees_its_own_and_is_told_so(visit: Visit, site: Site, sidebar: str) -> None:
    name = f"reader-{sidebar}"
    reader = site.command("create_key", name=name, scopes=["read"])["secret"]
    page = sign_in(visit(f"/?view=sidebars&sidebar={sidebar}", expect=("status of 403",)), reader)
    expect(page.get_by_role("alert")).to_contain_text("is for its participants and for admins")
    expect(page.get_by_role("navigation", name="Sidebars")).not_to_contain_text(sidebar)
    page.keyboard.press("2")
    expect(page.locator(".live-note")).to_contain_text("of agents and connections your own")
    expect(page.locator(".connections tbody tr")).to_have_count(1)


def test_an_emergency_is_shown_above_everything_until_it_is_put_away(visit: Visit, site: Site) -> None:
    page = sign_in(visit("/?view=live"), site.key)
    what = new_id()
    site.command("declare_emergency", lane="critical_failure", subject=what, action_required="Look at it")
    notice = page.locator(".notice", has_text=what)
    expect(notice.get_by_role("alert")).to_contain_text(f"Critical service failure: {what}")
    expect(notice).to_contain_text("Look at it")
    page.reload()
    page.wait_for_selector(LIVE)
    expect(notice).to_be_visible()
    notice.get_by_role("button", name="Put this notice away").click()
    expect(notice).to_have_count(0)
    page.reload()
    page.wait_for_selector(LIVE)
    page.keyboard.press("1")
    expect(page.locator(".row", has_text=what)).to_be_visible()
    expect(notice).to_have_count(0)
