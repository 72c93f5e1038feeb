"""The console as a person sees it: in a real browser, light and dark, on a telephone, with and without scripts."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.hosting.browser import Browser, Page, browser_path
from tests.hosting.console_visits import PAGES, console_token, furnish
from tests.hosting.hosted import Hosted, hosted

WITHOUT = os.environ.get("SCALE_MCP_NO_BROWSER") == "1"
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(WITHOUT, reason="SCALE_MCP_NO_BROWSER=1: no browser is wanted"),
]
DETAILS = ("/personas/night-shift", "/batches/production")
NOT_READABLE = """
(() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const part = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const found = parse(getComputedStyle(node).backgroundColor);
      if (found.length < 4 || found[3] === 1) return found;
      if (found[3] !== 0) throw new Error("a ground that is half there");
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || node.closest(".unseen, .skip, datalist, script") || !node.checkVisibility()) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(ground(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) poor.push([node.tagName, node.className, node.textContent.trim().slice(0, 30), ratio]);
  }
  return poor;
})()
"""
NOT_NAMED = """
[...document.querySelectorAll("input:not([type=hidden]):not([hidden]), table, button, nav, a")].filter((node) => {
  if (node.tagName === "TABLE") return ![...node.querySelectorAll("thead th")].every((th) => th.textContent.trim());
  if (node.tagName === "INPUT") return !node.labels.length;
  return !(node.textContent.trim() || node.getAttribute("aria-label"));
}).map((node) => node.outerHTML.slice(0, 120))
"""


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    path = browser_path()
    if path is None:
        pytest.fail(
            "There is no browser to look at the console with. Install one (apt-get install chromium), or say that it "
            "is not wanted with SCALE_MCP_NO_BROWSER=1."
        )
    async with Browser.opened(path, tmp_path / "profile") as found:
        yield found


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Hosted]:
    async with hosted(f"sqlite:///{tmp_path / 'hosted.db'}") as running:
        yield running


async def signed_in(server: Hosted, page: Page) -> Page:
    _, secret = await console_token(server)
    await page.go(f"{server.url}/console")
    await page.write("#token", secret)
    await page.press("button[type=submit]")
    assert "Overview" in await page.js("document.title")
    return page


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
async def test_every_page_fits_is_readable_and_asks_nobody_else(
    server: Hosted, browser: Browser, width: int, dark: bool
) -> None:
    await furnish(server)
    page = await signed_in(server, await browser.page(width=width, dark=dark))
    await page.go(f"{server.url}/console/calls")
    a_call = await page.js("document.querySelector('td a').getAttribute('href')")
    for path in (*PAGES, *DETAILS, a_call.removeprefix("/console")):
        await page.go(f"{server.url}/console{path}")
        assert await page.js("document.documentElement.scrollWidth <= innerWidth"), path
        assert await page.js(NOT_READABLE) == [], path
        assert await page.js(NOT_NAMED) == [], path
        assert await page.js("document.querySelectorAll('h1').length") == 1, path
        picture = await page.picture()
        assert picture.startswith(b"\x89PNG"), path
    assert page.complaints == []
    assert [address for address in page.asked if not address.startswith(server.url)] == []
    dark_ground = "rgb(18, 23, 29)"
    assert (await page.js("getComputedStyle(document.body).backgroundColor") == dark_ground) is dark


async def test_what_somebody_typed_runs_nowhere_and_turns_nothing_around(server: Hosted, browser: Browser) -> None:
    await furnish(server)
    page = await signed_in(server, await browser.page())
    for path in (*PAGES, "/personas/auditor"):
        await page.go(f"{server.url}/console{path}")
        assert await page.js("document.querySelectorAll('main script, main img').length") == 0, path
        assert await page.js(r"/[\u200b-\u200f\u202a-\u202e\u2066-\u2069]/.test(document.body.textContent)") is False
    await page.go(f"{server.url}/console/personas")
    assert "<script>alert(1)</script>" in await page.text()  # as words
    assert page.complaints == []


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
async def test_an_operator_decides_and_revokes_with_the_mouse(server: Hosted, browser: Browser, scripts: bool) -> None:
    furniture = await furnish(server)
    page = await signed_in(server, await browser.page(scripts=scripts))
    await page.go(f"{server.url}/console/approvals")
    await page.press("button[value=approve]")
    assert "Approved. The agent may make this call once" in await page.text()
    approved = await server.house.approvals.get(furniture.approval)
    assert approved is not None
    assert (approved.state, approved.decided_by) == ("approved", "console:ada")

    await page.go(f"{server.url}/console/personas/night-shift")
    await page.js("document.querySelector('details summary').click()")
    await page.press("details button")
    assert "The token is revoked" in await page.text()

    await page.go(f"{server.url}/console/audit")
    await page.press("main form button")
    assert "The trail is being verified" in await page.text()

    await page.press(".who button")
    assert "You are signed out" in await page.text()
    await page.go(f"{server.url}/console/approvals")
    assert "Console token" in await page.text()


async def test_a_page_shows_news_by_itself_and_can_be_paused(server: Hosted, browser: Browser) -> None:
    await server.connection("main")
    token = await server.persona("ada", "main")
    page = await browser.page()
    # The page's own clock goes a hundred times as fast, so that nobody waits.
    quick = "const slow = setInterval; window.setInterval = (work, time) => slow(work, time / 100);"
    await page.command("Page.addScriptToEvaluateOnNewDocument", source=quick)
    await signed_in(server, page)
    await page.go(f"{server.url}/console/calls")
    assert "Nobody has called yet." in await page.text()
    async with server.client(token) as client:
        await client.call_tool("list_projects", {})
    await page.until("document.querySelector('main td a')?.textContent === 'list_projects'")

    await page.js("document.querySelector('.live button').click()")
    assert "Updates are paused." in await page.text()
    assert page.complaints == []


async def test_the_keyboard_reaches_everything_and_shows_where_it_is(server: Hosted, browser: Browser) -> None:
    page = await signed_in(server, await browser.page())
    seen = []
    for _ in range(12):
        for kind in ("rawKeyDown", "keyUp"):
            await page.command("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        seen.append(await page.js("document.activeElement.textContent.trim().replace(/\\s+/g, ' ')"))
        assert await page.js("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert seen[0] == "Skip to the content"
    assert set(seen) >= {"Sign out", "Overview", "Calls", "Personas", "Approvals", "Events", "Batches", "Audit"}
