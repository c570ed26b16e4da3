"""The report's page in a browser: nothing overlaps, nothing is cut off, nothing is fetched."""

from pathlib import Path
from typing import Any

import pytest
import simulated

from kd_lab.report import __main__ as door

SMALLEST = 8.0  # pixels of a letter's size that can still be read

MEASURE = """() => {
  const box = e => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
  const figures = [...document.querySelectorAll('figure')];
  return {
    width: document.documentElement.scrollWidth,
    paper: getComputedStyle(document.body).backgroundColor,
    ink: getComputedStyle(document.body).color,
    figures: figures.map(box),
    blocks: [...document.querySelectorAll('h1, h2, .box, .below, figure, body > ul > li')].map(box),
    pictures: figures.map(f => { const svg = f.querySelector('svg'); return {
      title: f.querySelector('h3').textContent,
      svg: box(svg),
      scale: svg.getBoundingClientRect().width / svg.viewBox.baseVal.width,
      texts: [...svg.querySelectorAll('text')].map(t => ({
        text: t.textContent, box: box(t), size: parseFloat(getComputedStyle(t).fontSize),
        fill: getComputedStyle(t).fill,
      })),
    }}),
  };
}"""


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of many settings, some with long names."""
    folder = tmp_path_factory.mktemp("outputs")
    simulated.table1(folder, seeds=2)
    for alpha in (0.25, 0.5):
        for seed in range(2):
            simulated.run(
                folder, "metadistil", seed, student="tinybert", of_method={"alpha": alpha, "temperature": 4 * alpha}
            )
    for name, accuracy, megabytes in (("minilm", 0.86, 91), ("minilm3", 0.81, 70), ("minilm3-2", 0.82, 70)):
        simulated.export(folder, name, accuracy=accuracy, megabytes=megabytes)
    return door.report(door.read([str(folder)])) / "report.html"


def apart(boxes: list[list[float]], slack: float) -> list[tuple[int, int]]:
    """Pairs that lie on each other by more than ``slack`` pixels both ways."""
    found = []
    for i, (left, top, right, bottom) in enumerate(boxes):
        for j, (other_left, other_top, other_right, other_bottom) in enumerate(boxes[:i]):
            across = min(right, other_right) - max(left, other_left)
            if across > slack and min(bottom, other_bottom) - max(top, other_top) > slack:
                found.append((j, i))
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_overlaps_and_nothing_is_cut_off(width: int, scheme: str, browser: Any, page_file: Path) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_file.as_uri())
    found = page.evaluate(MEASURE)
    page.close()
    assert asked == [page_file.as_uri()]
    assert found["width"] == width
    assert apart(found["blocks"], 1) == []
    assert len(found["pictures"]) == 7
    for left, _, right, _ in found["figures"]:
        assert left >= 0
        assert right <= width
        assert right - left >= 330
    for picture in found["pictures"]:
        texts, (left, top, right, bottom) = picture["texts"], picture["svg"]
        assert len(texts) > 5
        for text in texts:
            box = text["box"]
            inside = box[0] >= left - 1 and box[1] >= top - 1 and box[2] <= right + 1 and box[3] <= bottom + 1
            assert inside, (picture["title"], text)
            assert text["size"] * picture["scale"] >= SMALLEST
            assert text["fill"] == found["ink"]
        overlapping = apart([text["box"] for text in texts], 3)
        assert not overlapping, [(picture["title"], texts[a]["text"], texts[b]["text"]) for a, b in overlapping]
    assert brightness(found["paper"]) > 200 if scheme == "light" else brightness(found["paper"]) < 50
    assert abs(brightness(found["paper"]) - brightness(found["ink"])) > 150


def brightness(colour: str) -> float:
    red, green, blue = (int(part) for part in colour.partition("(")[2].rstrip(")").split(",")[:3])
    return 0.299 * red + 0.587 * green + 0.114 * blue


def test_on_paper_it_is_black_on_white_and_whole(browser: Any, page_file: Path) -> None:
    page = browser.new_page(viewport={"width": 700, "height": 900}, color_scheme="dark")
    page.goto(page_file.as_uri())
    page.emulate_media(media="print")
    found = page.evaluate(MEASURE)
    tables = page.evaluate("[...document.querySelectorAll('table')].map(t => t.getBoundingClientRect().right)")
    page.close()
    assert brightness(found["paper"]) == 255
    assert brightness(found["ink"]) == 0
    assert max(tables) <= 700
