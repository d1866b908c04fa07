"""`framemesh demo --check`: a headless browser judges the stream as a viewer would see it.

Frame ids are read from the pixels on the screen (the barcode), never from what messages claim.
"""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from clients.chromium import Page, PageFailed, open_chromium

START_S = 40.0  # for the session to open and the first picture to be shown
BARCODE_SHARE = 0.06  # of the picture's height, left out where the scene is judged
_SHOWS_SOMETHING = "globalThis.framemesh?.look().counts.pictures > 0"
_REFUSED = "globalThis.framemesh?.look().state === 'refused'"
LEAST_CONTRAST = 8.0  # standard deviation of the luminance, of 127 at most


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that must hold, and what was found."""

    name: str
    found: str
    holds: bool


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The verdict; `str` of it is a small table."""

    conditions: tuple[Condition, ...]

    @property
    def passed(self) -> bool:
        """Whether everything holds."""
        return all(condition.holds for condition in self.conditions)

    def __str__(self) -> str:
        return "\n".join(
            f"{'ok  ' if c.holds else 'FAIL'}  {c.name}: {c.found}" for c in self.conditions
        )


@dataclass(frozen=True, slots=True)
class Seen:
    """What a page showed for a while.

    record, counts: of the page's recorder (clients/web/recorder.js). errors: the page's.
    contrast: standard deviation of the luminance of the scene's part of the page, 0..127.
    """

    seconds: float
    record: Mapping[str, Any]
    counts: Mapping[str, int]
    errors: Sequence[str]
    contrast: float


async def check(
    url: str,
    *,
    screenshot: Path,
    seconds: float = 10.0,
    min_frames: int = 150,
    min_share: float = 0.3,
) -> CheckReport:
    """Watch `url` (with barcode=1) for `seconds` from the first picture on, and judge it.

    Writes a PNG of the page to `screenshot`. Raises BrowserUnavailable, PageFailed.
    """
    seen = await watch(url, screenshot=screenshot, seconds=seconds)
    return judge(seen, min_frames=min_frames, min_share=min_share)


async def watch(url: str, *, screenshot: Path, seconds: float) -> Seen:
    """Open `url` in a browser of its own and look at it; see `check`."""
    async with open_chromium() as browser:
        page = await browser.open_page(url)
        await page.until(f"{_SHOWS_SOMETHING} || {_REFUSED}", START_S)
        await _raise_if_refused(page)
        await page.evaluate("framemesh.take(); 0")
        await asyncio.sleep(seconds)
        record = await page.evaluate("framemesh.take()")
        look = await page.evaluate("framemesh.look()")
        await page.evaluate("framemesh.showOverlay(true); 0")
        await asyncio.to_thread(screenshot.write_bytes, await page.screenshot())
        await page.evaluate("framemesh.showOverlay(false); 0")
        contrast = contrast_of(await page.screenshot(), look["picture"]["box"])
        return Seen(seconds, record, look["counts"], tuple(page.errors), contrast)


async def _raise_if_refused(page: Page) -> None:
    """What the page tells its viewer, as our own error."""
    if await page.evaluate(_REFUSED):
        problem = await page.evaluate("framemesh.look().problem")
        raise PageFailed(problem["what"], problem["why"], problem["fix"])


def judge(seen: Seen, *, min_frames: int, min_share: float) -> CheckReport:
    """Holds if at least `min_frames` distinct frames were shown in order, two or more makers each
    made `min_share` of the tiles, the page had no errors, and the picture shows something.
    """
    return CheckReport(
        (
            _frames(seen, min_frames),
            _order(seen.counts),
            *_shares(seen.record, min_share),
            Condition("no console errors", "; ".join(seen.errors[:3]) or "none", not seen.errors),
            Condition(
                "the picture shows something",
                f"contrast {seen.contrast:.1f} of 127",
                seen.contrast >= LEAST_CONTRAST,
            ),
        )
    )


def contrast_of(page_png: bytes, box: Sequence[float]) -> float:
    """Standard deviation of the luminance of the scene's part of a screenshot, 0..127.

    box: where the picture lies on the page: x, y, width, height, pixels.
    """
    picture = Image.open(io.BytesIO(page_png)).convert("L")
    x, y, width, height = box
    left, right = round(x + width * 0.2), round(x + width * 0.7)
    top, bottom = round(y + height * (BARCODE_SHARE + 0.1)), round(y + height * 0.85)
    return float(np.asarray(picture.crop((left, top, right, bottom))).std())


def _frames(seen: Seen, least: int) -> Condition:
    distinct = len({number for _, number in seen.record["pictures"] if number is not None})
    found = f"{distinct} in {seen.seconds:.0f} s"
    return Condition(f"at least {least} distinct frames, by barcode", found, distinct >= least)


def _order(counts: Mapping[str, int]) -> Condition:
    found = f"{counts['repeated']} repeated, {counts['backwards']} backwards"
    holds = not counts["repeated"] and not counts["backwards"]
    return Condition("every frame once and in order", found, holds)


def _shares(record: Mapping[str, Any], least: float) -> list[Condition]:
    made: Counter[str] = Counter()
    filled = 0
    for _, _, _, pieces_filled, by_maker in record["facts"]:
        made.update(by_maker)
        filled += pieces_filled
    tiles = max(1, sum(made.values()) + filled)
    shares = {maker: count / tiles for maker, count in sorted(made.items())}
    told = ", ".join(f"{maker} {share:.0%}" for maker, share in shares.items()) or "nobody"
    enough = len(shares) >= 2 and min(shares.values()) >= least
    return [
        Condition(f"two makers or more, each of at least {least:.0%} of the tiles", told, enough),
        Condition("tiles filled from the frame before", f"{filled} of {tiles}", True),
    ]
