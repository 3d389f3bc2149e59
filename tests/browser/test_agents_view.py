"""Agents' runs and replays on the dashboard, with processes under the real runner."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Page, expect

from cli.local.environment import ROOT
from shared.messages import new_id
from tests.browser.conftest import Site
from tests.browser.test_live_view import fits, sign_in
from tests.waiting import eventually

Visit = Callable[..., Page]

SCRIPT = """
import sys, time
print("\\x1b[32mgreen\\x1b[0m and <b>plain</b>")
print("it went wrong", file=sys.stderr, flush=True)
for n in range(1, 3001):
    print("row", n)
print("```python\\nprint('kept once')\\n```")
print("$ rm -rf build/")
print("Delete everything? [y/N] ", end="", flush=True)
print("you said", input())
print("long " * 200)
print("AssertionError: 1 != 2", file=sys.stderr)
sys.exit(3)
"""


@contextmanager
def running(site: Site, agent: str, script: str) -> Iterator[dict[str, Any]]:
    """A Python program under the runner, by itself; its run, once it has one."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "clients" / "python"),
        "SWITCHYARD_GATEWAY_URL": site.gateway_url(),
        "SWITCHYARD_API_URL": site.url,
        "SWITCHYARD_API_KEY": site.key,
    }
    words = f"-m switchyard_client run {agent} --once --grace 2 --title".split()
    command = [sys.executable, *words, f"About {agent}", "--", sys.executable, "-u", "-c", script]
    process = subprocess.Popen(command, env=environment, cwd=ROOT)
    try:
        [run] = eventually(lambda: site.command("list_runs", agent_name=agent)["runs"], 20)
        yield run
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def test_a_run_is_followed_controlled_and_looked_through(visit: Visit, site: Site) -> None:
    agent = f"agent-{new_id()[-12:]}"
    page = sign_in(visit("/"), site.key)
    page.keyboard.press("5")
    with running(site, agent, SCRIPT) as run:
        page.get_by_role("button", name=run["name"]).click()
        log = page.get_by_role("log", name="Output")
        state = page.locator(".talk-head .pill")
        expect(log).to_contain_text("Delete everything? [y/N]")
        expect(state).to_have_text("waits for input")
        assert page.locator(".line").count() < 120

        page.get_by_role("button", name="Pause").click()
        expect(page.locator(".run-said")).to_have_text("It is paused.")
        expect(state).to_have_text("paused")
        page.get_by_role("button", name="Resume").click()
        expect(page.locator(".run-said")).to_have_text("It goes on.")

        page.get_by_role("button", name="Send input").click()
        page.get_by_label("What to send").fill("not today")
        page.keyboard.press("Enter")
        expect(page.locator(".line[data-stream=input]")).to_contain_text("not today")
        expect(log).to_contain_text("you said not today")
        expect(state).to_have_text("failed")
    expect(page.locator(".talk-facts")).to_contain_text("exit 3")
    expect(page.get_by_role("button", name="Kill")).to_have_count(0)

    page.get_by_role("tab", name="Found").click()
    error = page.get_by_role("region", name="error").locator(".found-item", has_text="AssertionError")
    expect(error).to_contain_text("medium")
    expect(page.get_by_role("region", name="command")).to_contain_text("rm -rf build/")
    block = page.get_by_role("region", name="code block")
    block.get_by_text("The whole of it").click()
    expect(block.locator("pre")).to_contain_text("print('kept once')")
    page.get_by_role("region", name="command").get_by_role("button", name="line ").first.click()
    expect(page.locator(".line[data-wanted=true]")).to_contain_text("rm -rf build/")
    page.get_by_role("tab", name="Output").press("ArrowLeft")
    history = page.locator(".history")
    expect(history).to_contain_text("asked it to pause: done")
    expect(history).to_contain_text("waits for input")

    page.set_viewport_size({"width": 390, "height": 844})
    page.reload()
    expect(log).to_contain_text("AssertionError: 1 != 2")
    assert fits(page)
    for first in ("1,012", "12", "1"):
        log.evaluate("(box) => { box.scrollTop = 0 }")
        page.get_by_role("button", name="Show earlier lines").click()
        expect(page.locator(".output-count")).to_contain_text(f"Lines {first} to")
    log.evaluate("(box) => { box.scrollTop = 0 }")
    expect(page.locator(".line").first).to_contain_text("green and <b>plain</b>")
    reckoned = log.evaluate("(box) => box.scrollHeight")
    page.get_by_role("button", name="Follow the end").click()
    expect(page.locator(".line[data-stream=stderr]").last).to_contain_text("errAssertionError: 1 != 2")
    # What a long line takes when it is drawn is what was reckoned while it was not.
    assert log.evaluate("(box) => box.scrollHeight") == reckoned


TWICE = "import time; print('once', flush=True); time.sleep(2); print('twice')"


def test_a_session_is_replayed_sought_and_forked(visit: Visit, site: Site) -> None:
    agent = f"agent-{new_id()[-12:]}"
    with running(site, agent, TWICE) as run:
        session = run["session_id"]
        eventually(lambda: site.command("get_session", session_id=session)["session"]["status"] == "completed", 30)
    page = sign_in(visit(f"/?view=agents&run={run['run_id']}"), site.key)
    page.get_by_role("button", name="Replay the session").click()
    events = page.get_by_role("listbox", name="Events, oldest first")
    expect(events.locator("[data-type=agent_output_added]")).to_have_count(1)
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".player-at")).to_contain_text("paused")
    bar = page.get_by_label("Event", exact=True)
    bar.fill("1")
    expect(events.locator(".row")).to_have_count(1)
    bar.press("ArrowRight")
    expect(events.locator(".row")).to_have_count(2)
    expect(page.locator(".player-at")).to_contain_text("paused")
    page.get_by_label("Speed").select_option("0")
    page.get_by_role("button", name="Play", exact=True).click()
    expect(page.locator(".player-at")).to_contain_text("at its end")
    expect(events.locator("[data-type=agent_output_added]")).to_have_count(2)

    page.get_by_label("Speed").select_option("1")
    last = int(bar.get_attribute("max") or 0)
    bar.fill("2")
    expect(events.locator("[data-type=session_created]")).to_have_count(1)
    expect(events.locator("[data-type=agent_output_added]")).to_have_count(1)
    page.get_by_role("button", name="Next event").click()
    expect(events.locator("[data-type=agent_output_added]")).to_have_count(2)
    expect(page.locator(".player-at")).to_contain_text("at its end")
    events.locator("[data-type=session_created]").click()
    expect(page.get_by_label("Event detail")).to_contain_text(f"About {agent}")
    assert "replay_id" not in page.get_by_label("Event detail").inner_text()
    page.keyboard.press("Escape")

    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("button", name="Fork from here").click()
    assert fits(page)
    page.get_by_label("Title of the new session").fill("What if")
    page.keyboard.press("Enter")
    expect(page.get_by_text(f"The session was forked after event {last}.")).to_be_visible()
    page.get_by_role("button", name="Show it").click()
    expect(page.locator(".row[data-type=session_created]")).to_contain_text("What if")


def test_a_run_is_killed_once_that_is_confirmed_and_readers_only_look_on(visit: Visit, site: Site) -> None:
    agent = f"agent-{new_id()[-12:]}"
    with running(site, agent, "print('waiting'); input()") as run:
        reader = site.command("create_key", name=agent, scopes=["read"])["secret"]
        other = sign_in(visit(f"/?view=agents&run={run['run_id']}", width=390, expect=("status of 403",)), reader)
        expect(other.get_by_role("log", name="Output")).to_contain_text("waiting")
        expect(other.locator(".run-controls")).to_contain_text("You can look on")
        assert other.locator(".run-controls button").count() == 0

        page = sign_in(visit(f"/?view=agents&run={run['run_id']}"), site.key)
        page.get_by_role("button", name="State").click()
        expect(page.locator(".run-said")).to_contain_text("process ")
        page.get_by_role("button", name="Kill", exact=True).click()
        expect(page.get_by_role("alertdialog")).to_contain_text("KILL")
        page.keyboard.press("Escape")
        expect(page.get_by_role("alertdialog")).to_have_count(0)
        page.get_by_role("button", name="Kill", exact=True).click()
        page.get_by_role("button", name="Kill it").click()
        expect(page.locator(".talk-head .pill")).to_have_text("killed")
        expect(other.locator(".talk-head .pill")).to_have_text("killed")
    page.get_by_role("combobox", name="Agent").fill(agent)
    page.keyboard.press("Enter")
    expect(page.locator(".run")).to_have_count(1)
    page.get_by_label("State", exact=True).select_option("running")
    expect(page.get_by_role("navigation", name="Runs")).to_contain_text("No such run")
