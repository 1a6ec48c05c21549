"""Open pages in a real browser: headless Chromium through Playwright. Skipped by name where it is absent, never in CI."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

_CHROMIUM = os.environ.get("VERIMASK_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
CI = "CI" in os.environ
# WebGL without a graphics card: SwiftShader draws it on the CPU. Root may not use the sandbox. A container's /dev/shm is
# small, and a browser that finds it full cannot hand over a picture.
_FLAGS = [
    *("--no-sandbox", "--disable-dev-shm-usage"),
    *("--disable-gpu", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
]
# Two frames were drawn since this was asked: a browser that has not drawn its first one yet refuses to take a picture.
_DRAWN = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"

Array = np.ndarray[Any, Any]


@dataclass
class Opened:
    """A page, with what it said and asked for."""

    page: Any
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def wait_until_drawn(self) -> None:
        """Wait until what was done to the page is on the screen."""
        self.page.wait_for_function(_DRAWN)

    def pixels(self, selector: str) -> Array:
        from PIL import Image

        self.wait_until_drawn()
        raw = self.page.locator(selector).first.screenshot()
        return np.array(Image.open(BytesIO(raw)).convert("RGB")).astype(float)

    def middle(self, selector: str) -> Array:
        box = self.page.locator(selector).first.bounding_box()
        return np.array([box["x"] + box["width"] / 2, box["y"] + box["height"] / 2])


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if not CI and not Path(_CHROMIUM).exists():
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    api = pytest.importorskip("playwright.sync_api") if not CI else __import__("playwright.sync_api").sync_api
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=_CHROMIUM, args=_FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """Open HTML from a file, as a person does; at the end nothing may have gone wrong or out."""
    shown: list[Opened] = []

    def opened(text: str, *, width: int = 1280, scheme: str = "light", script: bool = True) -> Opened:
        file = tmp_path / f"{len(shown)}.html"
        file.write_text(text, "utf-8")
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=script
        )
        page = context.new_page()
        one = Opened(page)
        page.on("console", lambda m: one.errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: one.errors.append(str(e)))
        page.on("request", lambda r: one.requests.append(r.url) if not r.url.startswith(("data:", "blob:")) else None)
        page.goto(file.as_uri())
        shown.append(one)
        return one

    yield opened
    for one in shown:
        assert one.errors == []
        assert len(one.requests) == 1
        assert one.requests[0].startswith("file:")
        one.page.context.close()
