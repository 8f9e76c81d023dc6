"""A report that was opened in a real browser, without a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SHOWN = ".half:not([hidden])"

IN_A_BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no Chromium at {CHROMIUM}: install it to run these tests"),
]


@contextmanager
def launched() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield running
        running.close()


class Visit:
    """A page that was opened offline, with all that it asked for and complained of."""

    def __init__(self, browser: Any, address: str, *, width: int = 1100, dark: bool = False, chinese: bool = False):
        self.requests: list[str] = []
        self.complaints: list[str] = []
        scheme = "dark" if dark else "light"
        self.context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True, reduced_motion="reduce"
        )
        self.page = self.context.new_page()
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.goto(address)
        self.page.wait_for_selector(".plot .main-svg")
        if chinese:
            self.page.click(f"{SHOWN} .switch")
            self.page.wait_for_selector(f"{SHOWN} .plot .main-svg")

    def read_all(self) -> None:
        """Scroll through the page, so that every figure is drawn."""
        for plot in self.page.locator(f"{SHOWN} .plot").all():
            plot.scroll_into_view_if_needed()
            plot.locator(".main-svg").first.wait_for()

    def wait_until(self, script: str) -> None:
        """Until it says true: playwright's own wait needs eval, which the page forbids."""
        self.run(
            f"new Promise((done) => {{const look = () => ({script}) ? done() : requestAnimationFrame(look); look();}})"
        )

    def saved(self, button: Any) -> Path:
        """The file that a button saves."""
        with self.page.expect_download() as found:
            button.click()
        path: Path = found.value.path()
        return path

    def run(self, script: str) -> Any:
        return self.page.evaluate(script)

    def close(self) -> None:
        self.context.close()
