import shutil
from pathlib import Path

import pytest

from goldpanner.report.pages.run import build
from synthetic_run import HOSTILE, write_run

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH: the page is not tried in a browser"),
]

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("run")
    write_run(root)
    return build(root)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def page(request, browser, report):
    """The report, open and drawn; afterwards: nothing was asked of a network, nothing was complained of."""
    context = browser.new_context(viewport=request.param, offline=True)
    page = context.new_page()
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.goto(report.as_uri())
    page.wait_for_selector("html[data-drawn]", timeout=30_000)
    page.wait_for_selector(".explorer[data-ready]", timeout=30_000)
    yield page
    context.close()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in asked if url.startswith("file:")]) == 1
    assert complaints == []


def test_every_chart_is_drawn_and_nothing_scrolls_sideways(page):
    boxes = page.eval_on_selector_all(
        ".chart", "places => places.map(p => { const s = p.querySelector('svg'), r = s && s.getBoundingClientRect();"
        "return s ? [r.width, r.height, s.querySelectorAll('path, line, text').length] : null; })"
    )  # fmt: skip
    assert len(boxes) == 17
    assert all(box and box[0] > 100 and box[1] > 100 and box[2] > 10 for box in boxes), boxes
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_svg_marks_carry_their_description(page):
    labels = page.eval_on_selector_all(".chart .drawing", "all => all.map(s => s.getAttribute('aria-label') || '')")
    assert all(len(label) > 30 for label in labels)


def test_a_row_opens_and_shows_chain_and_responses(page):
    row = page.locator("tr.row", has_text="Q ").first
    prompt = row.locator(".open-row").inner_text()
    row.locator(".open-row").press("Enter")
    detail = page.locator("tr.detail-row")
    text = detail.inner_text()
    assert prompt in text
    assert "Expected" in text
    assert "Step by step" in text
    assert "stated right by" in text
    for label in ("base:", "base → GRPO:", "base → SFT → GRPO:"):
        assert label in text
    assert detail.locator("li.response").count() >= 4
    assert set(detail.locator(".badge").all_inner_texts()) <= {"right", "lucky", "wrong", "unjudged"}
    row.locator(".open-row").press("Enter")
    assert page.locator("tr.detail-row").count() == 0


def test_columns_sort_both_ways(page):
    head = page.locator(".problems thead th").nth(3)
    values = "rows => rows.map(r => parseFloat(r.cells[3].innerText))"
    head.locator("button").click()
    down = page.eval_on_selector_all("tr.row", values)
    assert head.get_attribute("aria-sort") == "descending"
    assert down == sorted(down, reverse=True)
    head.locator("button").click()
    up = page.eval_on_selector_all("tr.row", values)
    assert head.get_attribute("aria-sort") == "ascending"
    assert up == sorted(up)
    assert up[0] < down[0]


def test_filters_narrow_the_table(page):
    found = page.locator(".found")
    assert found.inner_text() == "36 of 36 problems"
    page.select_option("select[name=task]", "world/d3")
    assert found.inner_text() == "12 of 36 problems"
    page.select_option("select[name=task]", "")
    page.fill("input[name=text]", "7*7")
    assert found.inner_text() == "1 of 36 problems"
    assert page.locator("tr.row .open-row").inner_text() == HOSTILE.replace("\u2028", " ").strip() or "{{7*7}}" in (
        page.locator("tr.row .open-row").inner_text()
    )
    page.fill("input[name=text]", "")
    page.select_option("select[name=change]", label="base → GRPO: raised tenfold or more")
    assert int(found.inner_text().split()[0]) < 36


def test_it_prints(page, tmp_path):
    if page.viewport_size != DESKTOP:
        pytest.skip("printed once")
    page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert (tmp_path / "report.pdf").stat().st_size > 50_000
    page.emulate_media(media="print")
    assert page.locator(".filters").is_hidden()
    assert page.locator(".cut").is_visible()
    assert page.evaluate("[...document.querySelectorAll('.problems tr.row')].filter(r => r.offsetHeight).length") <= 20
