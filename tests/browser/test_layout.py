"""What lies where on the page, and what its overlay draws, at the sizes people have."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

CUT_SHORT = """[...document.querySelectorAll("#panel .name, #panel dd")]
  .filter((element) => element.scrollWidth > element.clientWidth)
  .map((element) => element.textContent)"""
# How many pixels of the overlay's borders have the colour of the first maker to appear, of the
# second, of filled pieces, or of none of them.
BORDERS = """(() => {
  const known = { first: [86, 180, 233], second: [240, 160, 48], filled: [255, 92, 92] };
  const canvas = document.getElementById("tiles");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const found = {};
  for (let at = 0; at < data.length; at += 4) {
    if (data[at + 3] < 200) continue;
    const [name] = Object.entries(known)
      .find(([, colour]) => colour.every((part, i) => Math.abs(part - data[at + i]) < 12))
      ?? ["none"];
    found[name] = (found[name] ?? 0) + 1;
  }
  return found;
})()"""


async def filled_in(page, size=(1280, 720)) -> None:
    """Wait until every part of the page has something to show."""
    await page.resize(*size)
    await page.until("document.querySelectorAll('#makers li').length === 2")
    await page.until("document.querySelectorAll('#stages li').length >= 7")


@pytest.mark.parametrize("size", [(1280, 720), (960, 600), (844, 390), (390, 844), (320, 568)])
async def test_no_card_covers_another_or_leaves_the_page(open_page, cards_of, size):
    page = await open_page()
    await filled_in(page, size)
    assert {"header", "panel", "tools"} <= (await cards_of(page, size)).keys()


@pytest.mark.parametrize("size", [(1280, 720), (390, 844)])
async def test_no_label_is_cut_short(open_page, size):
    page = await open_page()
    await filled_in(page, size)
    assert await page.evaluate(CUT_SHORT) == []


async def test_on_an_upright_phone_the_figures_lie_below_the_picture(open_page, cards_of):
    page = await open_page()
    await filled_in(page, (390, 844))
    _, top, width, height = (await page.evaluate("framemesh.look()"))["picture"]["box"]
    panel = (await cards_of(page, (390, 844)))["panel"]
    assert width == 390
    assert top + height <= panel["top"]


async def test_the_barcode_is_covered_by_nothing_but_the_figures(open_page, cards_of):
    page = await open_page()
    await filled_in(page)
    look = await page.evaluate("framemesh.look()")
    barcode_ends = look["picture"]["box"][1] + look["picture"]["box"][3] * 16 / 360
    header = (await cards_of(page, (1280, 720)))["header"]
    assert header["top"] >= barcode_ends


async def test_each_piece_is_bordered_in_its_makers_colour_until_the_overlay_is_off(open_page):
    page = await open_page()
    await page.until(f"(({BORDERS}).first ?? 0) > 500 && (({BORDERS}).second ?? 0) > 500")
    assert set(await page.evaluate(BORDERS)) == {"first", "second"}
    await page.evaluate("document.getElementById('overlay').click()")
    assert await page.evaluate(BORDERS) == {}
    assert await page.evaluate("document.getElementById('overlay').ariaPressed") == "false"
    await page.evaluate("document.getElementById('overlay').click()")
    await page.until(f"({BORDERS}).first")
    assert page.errors == []


async def test_an_address_can_ask_to_begin_without_the_overlay(open_page):
    page = await open_page("barcode=1&overlay=0")
    await page.until("framemesh.look().counts.matched > 5")
    assert await page.evaluate("document.getElementById('panel').hidden")
    assert await page.evaluate(BORDERS) == {}
