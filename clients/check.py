"""`framemesh demo --check`: a headless browser judges the stream as a viewer would see it.

Frame ids are read from the pixels on the screen (the barcode), never from what messages claim.
"""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from clients.chromium import Page, open_chromium

START_S = 40.0  # for the session to open and the first picture to be shown
BARCODE_SHARE = 0.06  # of the picture's height, left out where the scene is judged
LEAST_CONTRAST = 8.0  # standard deviation of the luminance, of 255


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


async def check(
    url: str,
    *,
    screenshot: Path,
    seconds: float = 10.0,
    min_frames: int = 150,
    min_share: float = 0.3,
) -> CheckReport:
    """Watch `url` (with barcode=1) for `seconds` from the first picture on.

    Holds if at least `min_frames` distinct frames were shown in order, two or more makers each
    made `min_share` of the tiles, the page had no errors, and the picture shows something.
    Writes a PNG of the page to `screenshot`. Raises BrowserUnavailable, PageFailed.
    """
    async with open_chromium() as browser:
        page = await browser.open_page(url)
        await page.until("globalThis.framemesh?.look().counts.pictures > 0", START_S)
        await page.evaluate("framemesh.take(); 0")
        await asyncio.sleep(seconds)
        record = await page.evaluate("framemesh.take()")
        look = await page.evaluate("framemesh.look()")
        await page.evaluate("framemesh.showOverlay(true); 0")
        await asyncio.to_thread(screenshot.write_bytes, await page.screenshot())
        contrast = await _contrast(page, look)
        return CheckReport(
            (
                _frames(record, seconds, min_frames),
                _order(look["counts"]),
                *_shares(record, min_share),
                _errors(page),
                Condition("the picture shows something", f"contrast {contrast:.1f} of 255",
                          contrast >= LEAST_CONTRAST),
            )
        )  # fmt: skip


def _frames(record: dict[str, Any], seconds: float, least: int) -> Condition:
    distinct = len({number for _, number in record["pictures"] if number is not None})
    found = f"{distinct} in {seconds:.0f} s"
    return Condition(f"at least {least} distinct frames, by barcode", found, distinct >= least)


def _order(counts: dict[str, int]) -> Condition:
    found = f"{counts['repeated']} repeated, {counts['backwards']} backwards"
    holds = not counts["repeated"] and not counts["backwards"]
    return Condition("every frame once and in order", found, holds)


def _shares(record: dict[str, Any], least: float) -> list[Condition]:
    made: Counter[str] = Counter()
    for _, _, _, filled, by_maker in record["facts"]:
        made.update(by_maker)
        made["filled"] += filled
    filled, tiles = made.pop("filled", 0), max(1, sum(made.values()))
    shares = {maker: count / (tiles + filled) for maker, count in sorted(made.items())}
    told = ", ".join(f"{maker} {share:.0%}" for maker, share in shares.items()) or "nobody"
    enough = len(shares) >= 2 and min(shares.values()) >= least
    return [
        Condition(f"two makers or more, each of at least {least:.0%} of the tiles", told, enough),
        Condition("tiles filled from the frame before", f"{filled} of {tiles + filled}", True),
    ]


def _errors(page: Page) -> Condition:
    found = "; ".join(page.errors[:3]) or "none"
    return Condition("no console errors", found, not page.errors)


async def _contrast(page: Page, look: dict[str, Any]) -> float:
    """Standard deviation of the luminance of the scene's part of the page, 0..127."""
    await page.evaluate("framemesh.showOverlay(false); 0")
    picture = Image.open(io.BytesIO(await page.screenshot())).convert("L")
    x, y, width, height = look["picture"]["box"]
    left, right = round(x + width * 0.2), round(x + width * 0.7)
    top, bottom = round(y + height * (BARCODE_SHARE + 0.1)), round(y + height * 0.85)
    return float(np.asarray(picture.crop((left, top, right, bottom))).std())
