"""Chats with bots on the dashboard: followed, steered, and what bots and pool are at."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from shared.messages import new_id
from tests.browser.conftest import Site
from tests.browser.test_live_view import fits, sign_in

Visit = Callable[..., Page]


@pytest.fixture
def room() -> str:
    """A room in which nothing was said."""
    return f"room-{new_id()[-12:]}"


def test_a_chat_is_begun_grows_is_followed_and_forgotten(visit: Visit, site: Site, room: str) -> None:
    page = sign_in(visit("/"), site.key)
    page.keyboard.press("4")
    page.get_by_role("button", name="New chat").click()
    page.get_by_label("Room").fill(room)
    page.get_by_role("button", name="Open it").click()
    log = page.get_by_role("log")
    expect(log).to_contain_text("Nothing has been said yet")

    page.get_by_label("Say something").fill("my <b>colour</b> is teal [[long 900]] [[pace 0.15]]")
    page.keyboard.press("Enter")
    expect(log.locator(".growing")).to_contain_text("word-3")
    expect(page.locator(".talk-head .pill")).to_have_text("answering")
    expect(log.locator(".path")).to_have_text("cold", timeout=40_000)
    expect(log).to_contain_text("my <b>colour</b> is teal")

    said = {"room_id": room, "bot_id": "assistant", "user_name": "Ada"}
    site.command("chat_message", **said, text="[[recall colour]]")
    hot = log.locator(".turn[data-turn=answered]").nth(1)
    expect(hot.locator(".answer .exchange-text")).to_contain_text("colour</b> is teal")
    expect(hot.locator(".path")).to_have_text("hot")
    row = page.locator(".session.chat", has_text=room)
    expect(row).to_contain_text("2 said")

    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("button", name="Reset", exact=True).click()
    assert fits(page)
    page.keyboard.press("Escape")
    expect(page.get_by_role("alertdialog")).to_have_count(0)
    page.get_by_role("button", name="Reset", exact=True).click()
    page.get_by_role("button", name="Reset it").click()
    expect(log).to_contain_text("begun anew")
    site.command("chat_message", **said, text="[[recall colour]]")
    expect(log.locator(".turn").nth(2).locator(".answer")).to_contain_text("I don't remember: colour", timeout=40_000)
    assert fits(page)
    page.reload()
    expect(log.locator(".turn[data-turn=answered]")).to_have_count(3)


def test_a_bot_is_switched_off_and_on_and_whoever_only_reads_can_not(visit: Visit, site: Site, room: str) -> None:
    said = {"room_id": room, "bot_id": "assistant", "user_name": "Ada", "text": "[[say hi]]"}
    page = sign_in(visit(f"/?view=chat&room={room}&bot=assistant"), site.key)
    try:
        page.get_by_role("button", name="Switch assistant off").click()
        page.get_by_label("Why assistant is switched off").fill("it talks nonsense")
        page.keyboard.press("Enter")
        expect(page.locator(".bot", has_text="assistant")).to_contain_text("it talks nonsense")
        expect(page.locator(".composer-closed")).to_contain_text("switched off")
        site.command("chat_message", **said)
        expect(page.get_by_role("log")).to_contain_text("Not answered: the bot is switched off.")

        reader = site.command("create_key", name=room, scopes=["read"])["secret"]
        other = sign_in(visit(f"/?view=chat&room={room}&bot=assistant", width=390, expect=("status of 403",)), reader)
        expect(other.get_by_role("log")).to_contain_text("Not answered")
        expect(other.locator(".composer-closed")).to_contain_text("You can read along")
        other.get_by_role("button", name="Back to the list").click()
        expect(other.locator(".bot", has_text="assistant")).to_contain_text("switched off by")
        assert other.locator(".bot button, .begin button").count() == 0 and fits(other)
    finally:
        site.command("switch_bot", bot_id="assistant", on=True)
    expect(page.get_by_role("button", name="Switch assistant off")).to_be_visible()
    expect(page.get_by_label("Say something")).to_be_visible()


def test_a_tool_that_waits_to_be_allowed_is_shown_everywhere_and_allowed(visit: Visit, site: Site, room: str) -> None:
    page = sign_in(visit("/?view=chat", width=390, height=844), site.key)
    said = {"room_id": room, "bot_id": "clerk", "user_name": "Ada"}
    site.command("chat_message", **said, text="[[tool chat_stats {}]]")
    waiting = page.get_by_role("region", name="Wait to be allowed").get_by_role("button", name=room)
    expect(waiting).to_be_visible(timeout=40_000)
    expect(page.locator(".tab[data-view=chat] .tab-count")).to_have_text("1")
    waiting.click()
    asked = page.get_by_role("region", name="clerk asks to use")
    expect(asked).to_contain_text("chat_stats")
    expect(page.locator(".talk-head .pill")).to_have_text("waits to be allowed")
    assert fits(page)
    asked.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("log").locator(".answer")).to_contain_text("chat_stats", timeout=40_000)
    expect(asked).to_have_count(0)
    expect(page.locator(".tab[data-view=chat] .tab-count")).to_have_text("")
