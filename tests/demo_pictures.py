"""Pictures of a running demo: python tests/demo_pictures.py URL FOLDER; see docs/demo.md."""

import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from test_report_page import CHROMIUM

SIGHTS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
COLOURS = 128


def take(browser: Browser, url: str, path: Path, width: int, scheme: str, example: str) -> None:
    """The page after ``example`` was asked, as a small PNG."""
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(url)
    page.get_by_role("button", name=example).click()
    page.wait_for_selector("#answer .kd-answer")
    page.mouse.move(0, 0)
    page.wait_for_timeout(500)
    page.screenshot(path=path, full_page=True)
    page.close()
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(COLOURS).save(path, optimize=True)


def main(url: str, folder: str) -> None:
    """All of them."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for width, scheme in SIGHTS:
            take(browser, url, Path(folder) / f"demo-{width}-{scheme}.png", width, scheme, "The actors are splendid")
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:3])
