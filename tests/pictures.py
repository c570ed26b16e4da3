"""The pictures of README and docs: python tests/pictures.py OUTPUTS FOLDER, of what make ship left in OUTPUTS."""

import sys
from pathlib import Path

import demo_server
from chromium import CHROMIUM
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from kd_lab.report.__main__ import FOLDER as REPORT

SIGHTS = [(1280, "light"), (390, "dark")]
EXAMPLE = "The actors are splendid"
SIZE = "Accuracy against size"
COLOURS = 128


def small(path: Path) -> None:
    """Fewer colours: a quarter of the bytes."""
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(COLOURS).save(path, optimize=True)


def ask(page: Page, url: str, path: Path) -> None:
    """The demo after an example was asked."""
    page.goto(url)
    page.get_by_role("button", name=EXAMPLE).click()
    page.wait_for_selector("#answer .kd-answer")
    page.mouse.move(0, 0)
    page.wait_for_timeout(500)
    page.screenshot(path=path, full_page=True)
    small(path)


def by_size(browser: Browser, report: Path, path: Path) -> None:
    """One figure of the report's page, twice as sharp."""
    page = browser.new_page(viewport={"width": 800, "height": 900}, device_scale_factor=2)
    page.goto(report.resolve().as_uri())
    page.get_by_role("group", name=SIZE).screenshot(path=path)
    page.close()
    small(path)


def main(outputs: Path, folder: Path) -> None:
    """All of them."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        demo_server.elsewhere(["port=0", f"output_dir={outputs}"], Path.cwd()) as (demo, _),
        sync_playwright() as play,
    ):
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for width, scheme in SIGHTS:
            page = browser.new_page(
                viewport={"width": width, "height": 800},
                color_scheme=scheme,  # type: ignore[arg-type]
            )
            ask(page, demo.url, folder / f"demo-{width}-{scheme}.png")
            page.close()
        by_size(browser, outputs / REPORT / "report.html", folder / "size.png")
        browser.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
