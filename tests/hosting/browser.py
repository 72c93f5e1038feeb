"""A headless Chromium for tests, spoken to over two pipes in its own protocol: no driver, no port, no package."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--headless=new",
    "--no-sandbox",  # which cannot be had as root in a container
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
]
# The browser reads its file 3 and writes its file 4.
LAUNCH = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
WHERE = """
(() => {
  const found = document.querySelector(SELECTOR);
  found.scrollIntoView({block: "center"});
  const box = found.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
})()
"""
UNTIL = """
new Promise((done) => {
  const look = () => (EXPRESSION) ? done(true) : requestAnimationFrame(look);
  look();
})
"""
PATIENCE = 60.0  # seconds for anything; nothing is measured
LONGEST_MESSAGE = 64 * 1024 * 1024


def browser_path() -> str | None:
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class BrowserProblem(Exception):
    """The browser refused a command, or a page's script failed."""


class Browser:
    """A running browser. Each page has cookies of its own."""

    def __init__(self, commands: int, answers: asyncio.StreamReader) -> None:
        self._commands = commands
        self._answers = answers
        self._number = 0
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}

    @classmethod
    @asynccontextmanager
    async def opened(cls, path: str, folder: Path) -> AsyncIterator[Browser]:
        """``folder`` is for its profile."""
        to_read, commands = (_high(number) for number in os.pipe())
        answers, to_write = (_high(number) for number in os.pipe())
        process = await anyio.open_process(
            [sys.executable, "-c", LAUNCH, str(to_read), str(to_write), path, *FLAGS, f"--user-data-dir={folder}"],
            pass_fds=(to_read, to_write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(folder)},
        )
        os.close(to_read)
        os.close(to_write)
        reader = asyncio.StreamReader(limit=LONGEST_MESSAGE)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(answers, "rb")
        )
        browser = cls(commands, reader)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(browser._listen)
                yield browser
                tasks.cancel_scope.cancel()
        finally:
            os.close(commands)  # at which it ends
            transport.close()
            with anyio.CancelScope(shield=True):
                with anyio.move_on_after(PATIENCE):
                    await process.wait()
                if process.returncode is None:
                    process.kill()
                    await process.wait()

    async def command(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        self._number += 1
        number = self._number
        self._waiting[number] = asyncio.get_running_loop().create_future()
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        with anyio.fail_after(PATIENCE):
            answer = await self._waiting[number]
        if "error" in answer:
            raise BrowserProblem(f"{method}: {answer['error'].get('message')}")
        result: dict[str, Any] = answer["result"]
        return result

    async def page(self, *, width: int = 1280, dark: bool = False, scripts: bool = True) -> Page:
        """A new page, as of a person who has never been here."""
        context = (await self.command("Target.createBrowserContext"))["browserContextId"]
        target = await self.command("Target.createTarget", url="about:blank", browserContextId=context)
        attached = await self.command("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = self._pages[attached["sessionId"]] = Page(self, attached["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network"):
            await page.command(f"{domain}.enable")
        await page.command("Emulation.setScriptExecutionDisabled", value=not scripts)
        await page.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await page.command("Emulation.setEmulatedMedia", features=[scheme])
        return page

    async def _listen(self) -> None:
        while True:
            message = json.loads((await self._answers.readuntil(b"\0"))[:-1])
            if "id" in message:
                if not (waiting := self._waiting.pop(message["id"])).done():
                    waiting.set_result(message)
            elif (page := self._pages.get(message.get("sessionId", ""))) is not None:
                page.hear(message["method"], message["params"])


@dataclass
class Page:
    """A tab. ``complaints`` are what the browser logged as errors: scripts that failed, what the policy forbade."""

    browser: Browser
    session: str
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)  # every address that was requested
    _loaded: anyio.Event = field(default_factory=anyio.Event)

    async def command(self, method: str, **params: Any) -> dict[str, Any]:
        return await self.browser.command(method, self.session, **params)

    def hear(self, method: str, params: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self._loaded.set()
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])
        elif method == "Page.javascriptDialogOpening":
            self.complaints.append(f"a dialogue: {params['message']}")

    async def go(self, address: str) -> None:
        """Open an address, and wait until it is there with all it needs."""
        self._loaded = anyio.Event()
        found = await self.command("Page.navigate", url=address)
        if found.get("errorText"):
            raise BrowserProblem(found["errorText"])
        await self._arrive()

    async def press(self, selector: str) -> None:
        """Press what this selector finds, and wait for the page that follows."""
        self._loaded = anyio.Event()
        where = await self.js(WHERE.replace("SELECTOR", json.dumps(selector)))
        for kind in ("mousePressed", "mouseReleased"):
            await self.command(
                "Input.dispatchMouseEvent", type=kind, x=where[0], y=where[1], button="left", clickCount=1
            )
        await self._arrive()

    async def write(self, selector: str, text: str) -> None:
        """Type into a field."""
        await self.js(f"document.querySelector({json.dumps(selector)}).focus()")
        await self.command("Input.insertText", text=text)

    async def js(self, expression: str) -> Any:
        """The value of an expression, or of the promise that it gives."""
        found = await self.command(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        if "exceptionDetails" in found:
            raise BrowserProblem(json.dumps(found["exceptionDetails"]))
        return found["result"].get("value")

    async def text(self) -> str:
        """What a person reads, on one line."""
        return " ".join(str(await self.js("document.body.innerText")).split())

    async def until(self, expression: str) -> None:
        """Wait until an expression is true."""
        await self.js(UNTIL.replace("EXPRESSION", expression))

    async def picture(self) -> bytes:
        """The whole page as a PNG."""
        found = await self.command("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(found["data"])

    async def _arrive(self) -> None:
        with anyio.fail_after(PATIENCE):
            await self._loaded.wait()


def _high(number: int) -> int:
    """The same file under a number that is not 3 or 4."""
    copy = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(number)
    return copy
