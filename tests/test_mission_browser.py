"""The pages of studies and of the mission in a browser: drawn, within the screen, asking nothing of a network."""

import pytest

from goldpanner.report.pages import mission as pages
from goldpanner.report.ui_text import LANGUAGES
from synthetic_study import HOSTILE, STATES, finding, write_studies
from test_report_browser import DESKTOP, PHONE, browser, pytestmark  # noqa: F401


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    found = {
        "lima": finding(*STATES, supports=["reweights", "composes"], quick=True),
        "relay": finding("held", against=["reweights"], say=HOSTILE),
    }
    write_studies(folder, found)
    for language in LANGUAGES:
        pages.build_studies(folder, language)
    return folder


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("name", ["answer.html", "answer.zh.html", "lima.html", "relay.zh.html"])
def test_a_page_is_drawn_within_the_screen_and_asks_for_nothing(browser, root, name, viewport):  # noqa: F811
    context = browser.new_context(viewport=viewport, offline=True)
    page = context.new_page()
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
    page.goto((root / name).as_uri())
    if not name.startswith("answer"):
        page.wait_for_selector("html[data-drawn='2']", timeout=30_000)
        assert page.locator(".chart svg.marks").count() == 2
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    if name.startswith("answer"):
        assert page.locator(".box").count() == 33
        page.locator("table.studies a").first.click()
        page.wait_for_url("**/lima*.html*")
    context.close()
    assert complaints == []
    assert all(url.startswith(("file:", "data:")) for url in asked)
