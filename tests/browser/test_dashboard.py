"""The dashboard in a real browser, against the real stack."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from playwright.sync_api import Locator, Page, expect

from cli.local.stack import Stack
from tests.browser.conftest import Site
from tests.waiting import eventually

LIVE = ".connection[data-phase=live]"
Visit = Callable[..., Page]


def new_id(prefix: str = "browser") -> str:
    return f"{prefix}-{uuid4().hex[:10]}"


def sign_in(page: Page, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector(LIVE)


def rows(page: Page, session: str, *, type: str = "") -> Locator:
    """The feed's rows of one session."""
    of_type = f'[data-type="{type}"]' if type else ""
    return page.locator(f".row{of_type}", has=page.locator(".c-session", has_text=session))


def listed(page: Page, title: str) -> Locator:
    """A session in the list of sessions."""
    return page.locator(".session", has_text=title)


@pytest.fixture
def page(visit: Visit, site: Site) -> Page:
    """A signed-in page whose feed is live."""
    page = visit("/")
    sign_in(page, site.key)
    return page


# Signing in


def test_the_printed_link_signs_in_once_and_leaves_no_code_in_the_address(visit: Visit, site: Site) -> None:
    link = site.login_link()
    page = visit(link)
    page.wait_for_selector(LIVE)
    assert page.url == f"{site.url}/"

    second = visit(link, expect=("status of 4",))
    expect(second.get_by_role("alert")).to_contain_text("already used or has expired")
    assert "login" not in second.url


def test_a_key_signs_in_and_lasts_for_the_tab_only(visit: Visit, site: Site) -> None:
    page = visit("/")
    sign_in(page, site.key)
    page.reload()
    page.wait_for_selector(LIVE)
    assert site.key not in str(page.evaluate("[document.cookie, {...localStorage}, location.href]"))

    other_tab = page.context.new_page()
    other_tab.goto(site.url)
    expect(other_tab.get_by_label("API key")).to_be_visible()
    other_tab.close()

    page.get_by_role("button", name="Sign out").click()
    page.reload()
    expect(page.get_by_label("API key")).to_be_visible()


def test_a_wrong_key_is_refused_with_a_sentence(visit: Visit) -> None:
    page = visit("/", expect=("status of 401",))
    page.get_by_label("API key").fill("sy_wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not valid")
    expect(page.get_by_label("API key")).to_be_focused()


# The feed


def test_an_event_sent_over_http_shows_in_the_feed_within_two_seconds(page: Page, site: Site) -> None:
    session = new_id()
    site.command("create_session", session_id=session, title=f"Seen at once, {session}")
    expect(rows(page, session, type="session_created")).to_be_visible(timeout=2_000)
    expect(listed(page, session)).to_be_visible()

    site.command("store_memory", session_id=session, type="fact", key="depth", content="the bed is 4 m deep")
    stored = rows(page, session, type="memory_update")
    expect(stored).to_contain_text("the bed is 4 m deep", timeout=2_000)
    expect(listed(page, session)).to_contain_text("1 memory")

    stored.click()
    expect(page.get_by_label("Event as JSON")).to_contain_text('"key": "depth"')
    page.keyboard.press("Escape")
    expect(page.get_by_label("Event as JSON")).to_have_count(0)


def test_the_filter_stands_in_the_address_and_survives_a_reload(page: Page, site: Site) -> None:
    mine, other = new_id("mine"), new_id("other")
    for session in (mine, other):
        site.command("create_session", session_id=session)
        site.command("store_memory", session_id=session, type="idea", content="one small thing")
    expect(rows(page, other)).to_have_count(2)

    listed(page, mine).click()
    page.get_by_role("button", name="Type: All types").click()
    page.get_by_role("menuitemcheckbox", name="memory_update").click()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("SMALL -large")
    expect(page).to_have_url(re.compile(rf"\?q=SMALL\+-large&type=memory_update&session={mine}$"))
    expect(page.locator(".row")).to_have_count(1)

    page.reload()
    page.wait_for_selector(LIVE)
    expect(page.locator(".row")).to_have_count(1)
    expect(page.locator(".row")).to_contain_text(mine)
    expect(page.get_by_placeholder("Filter by words")).to_have_value("SMALL -large")


def test_a_paused_feed_stands_still_and_counts_what_it_missed(page: Page, site: Site) -> None:
    session = new_id()
    site.command("create_session", session_id=session)
    expect(rows(page, session)).to_have_count(1)
    listed(page, session).click()
    page.locator("#feed-list").focus()

    page.keyboard.press(" ")
    for n in range(3):
        site.command("store_memory", session_id=session, type="idea", key=f"k{n}", content=f"thought {n}")
    expect(page.locator(".pause .badge")).to_have_text("3")
    expect(page.locator(".row")).to_have_count(1)

    page.locator(".pause").click()
    expect(page.locator(".row")).to_have_count(4)
    expect(page.locator(".pause .badge")).to_have_count(0)


def test_markup_in_an_event_is_shown_as_text(page: Page, site: Site) -> None:
    evil = "<script>window.broken = true</script><img src=x onerror='window.broken = true'>"
    session = new_id("<b>bold</b>")
    site.command("create_session", session_id=session, title=f"{session} {evil}")
    site.command("store_memory", session_id=session, type="fact", key="<i>k</i>", content={"text": evil})
    stored = rows(page, session, type="memory_update")
    expect(stored).to_contain_text(evil)
    stored.click()
    expect(page.get_by_label("Event as JSON")).to_contain_text("<script>window.broken = true</script>")
    expect(listed(page, session)).to_contain_text(evil)
    assert page.evaluate("window.broken") is None
    assert page.locator("#app script, #app img, #app b, #app i").count() == 0


def test_numbers_are_shown_as_they_were_sent(page: Page, site: Site) -> None:
    session = new_id()
    site.command("create_session", session_id=session)
    site.command("store_memory", session_id=session, type="fact", content={"wide": 2**60 + 1, "text": "a wide number"})
    rows(page, session, type="memory_update").click()
    expect(page.get_by_label("Event as JSON")).to_contain_text(str(2**60 + 1))


def test_the_keyboard_moves_and_opens(page: Page, site: Site) -> None:
    session = new_id()
    site.command("create_session", session_id=session)
    for n in range(3):
        site.command("store_memory", session_id=session, type="idea", key=f"k{n}", content=f"thought {n}")
    expect(rows(page, session)).to_have_count(4)
    listed(page, session).click()
    expect(page.locator(".row")).to_have_count(4)

    page.keyboard.press("j")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("k")
    page.keyboard.press("j")
    expect(page.locator(".row[aria-selected=true]")).to_contain_text("thought 1")
    page.locator("#feed-list").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Event detail")).to_contain_text("thought 1")
    page.keyboard.press("j")
    expect(page.get_by_label("Event detail")).to_contain_text("thought 0")


# Width, colour, and a lost connection


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_is_wider_than_a_phone(visit: Visit, site: Site, dark: bool) -> None:
    page = visit("/", width=390, height=844, dark=dark)

    def fits() -> bool:
        widths = page.evaluate("[innerWidth, document.documentElement.scrollWidth, document.body.scrollWidth]")
        return bool(max(widths) == widths[0])

    assert fits()
    sign_in(page, site.key)
    session = new_id("a-session-with-a-very-long-name-that-will-not-fit")
    site.command("create_session", session_id=session, title=f"A title wider than any phone there is, {session}")
    site.command("store_memory", session_id=session, type="fact", key="x" * 200, content="word" * 200)
    rows(page, session, type="memory_update").click()
    expect(page.get_by_label("Event as JSON")).to_be_visible()
    assert fits()
    page.get_by_role("button", name="Back to the feed").click()
    page.locator(".tab", has_text="Sessions").click()
    listed(page, session).click()
    expect(page.locator(".chip")).to_contain_text(session)
    assert fits()


def test_with_the_gateway_away_the_page_counts_down_and_then_shows_what_it_missed(
    visit: Visit, site: Site, stack: Stack
) -> None:
    page = visit("/", expect=("WebSocket connection to",))
    sign_in(page, site.key)
    session = new_id()
    site.command("create_session", session_id=session)
    expect(rows(page, session)).to_have_count(1)

    gateway = stack.process("ws_gateway")
    gateway.stop()
    expect(page.locator(".bar")).to_contain_text("The gateway can't be reached")
    expect(page.locator(".bar")).to_contain_text(re.compile(r"Reconnecting in \d+ s"))
    for n in range(3):
        site.command("store_memory", session_id=session, type="idea", key=f"k{n}", content=f"thought {n}")

    gateway.start()
    page.wait_for_selector(LIVE, timeout=60_000)
    expect(rows(page, session, type="memory_update")).to_have_count(3)
    expect(rows(page, session)).to_have_count(4)
    expect(page.locator(".row.gap")).to_have_count(0)
    expect(page.locator(".bar")).to_have_count(0)


def test_with_the_ingress_away_the_page_says_who_does_not_answer(visit: Visit, site: Site) -> None:
    page = visit("/", expect=("ERR_FAILED",))
    sign_in(page, site.key)
    page.route("**/api/tokens", lambda route: route.abort())
    page.evaluate("window.sockets.forEach((socket) => socket.close())")
    expect(page.locator(".bar")).to_contain_text(f"No answer from {urlsplit(site.url).netloc}")
    page.unroute("**/api/tokens")
    page.evaluate("dispatchEvent(new Event('online'))")
    page.wait_for_selector(LIVE)
    expect(page.locator(".bar")).to_have_count(0)


def test_five_tabs_are_enough(visit: Visit, site: Site) -> None:
    page = visit("/")
    sign_in(page, site.key)
    others = [page.context.new_page() for _ in range(4)]
    for other in others:
        other.goto(site.url)
        sign_in(other, site.key)
    sixth = page.context.new_page()
    sixth.goto(site.url)
    sixth.get_by_label("API key").fill(site.key)
    sixth.get_by_role("button", name="Sign in").click()
    expect(sixth.locator(".bar")).to_contain_text("Too many dashboards are open in this browser")

    others[0].close()

    def is_in() -> bool:
        sixth.get_by_role("button", name="Reconnect now").click()
        sixth.wait_for_selector(".connection[data-phase=live], .connection[data-phase=stopped]")
        return sixth.locator(LIVE).count() == 1

    # The gateway may notice the closed tab a moment later.
    eventually(is_in)
