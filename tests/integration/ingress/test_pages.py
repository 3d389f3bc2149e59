"""The documentation in a real browser, under its policy and without a network."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, sync_playwright

from shared.messages import COMMANDS
from tests.chromium import chromium
from tests.integration.ingress.conftest import Ingress

__all__ = ["chromium"]


@pytest.fixture
def page(chromium: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield browser.new_page()
        browser.close()


def test_the_documentation_works_offline_and_within_its_policy(ingress: Ingress, page: Page) -> None:
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    home = f"http://127.0.0.1:{ingress.port}"
    page.goto(f"{home}/docs")
    page.locator("#operations-memory_commands-store_memory, [id$=store_memory]").first.click(timeout=20_000)
    page.get_by_text("Request body").first.wait_for()
    # The example is that of the registry; every field is in the schema behind it.
    page.get_by_text(COMMANDS["store_memory"].example["content"]).first.wait_for()
    page.get_by_text("Schema", exact=True).first.click()
    page.get_by_text("if_version").first.wait_for()
    assert not said
    assert [url for url in asked if not url.startswith((home, "data:"))] == []
