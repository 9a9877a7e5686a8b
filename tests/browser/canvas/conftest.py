"""An easel, and a page on which a picture stands."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.canvas.sitting import Sitting, drawn, load
from tests.browser.easel import Easel


@pytest.fixture(scope="module")
def easel() -> Iterator[Easel]:
    easel = Easel()
    yield easel
    easel.close()


@pytest.fixture
def witness(browser: Browser, easel: Easel) -> Iterator[Sitting]:
    easel.sent.clear()
    witness = Sitting(browser)
    yield witness
    for context in browser.contexts:
        context.close()
    assert witness.complaints == []
    assert witness.strangers == []


@pytest.fixture
def page(witness: Sitting, easel: Easel) -> Page:
    page = witness.open(easel.url)
    load(page, easel, drawn())
    page.locator(".easel-view").focus()
    return page
