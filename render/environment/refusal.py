"""One way to say no to an environment."""

from mesh.core.errors import ContentRefused
from render.environment.limits import MAX_ENVIRONMENT_PIXELS, MAX_ENVIRONMENT_SIDE

EXPORT_AGAIN = "Save the environment again as a plain RGB picture."


def refused(why: str, fix: str = EXPORT_AGAIN) -> ContentRefused:
    """The error to raise."""
    return ContentRefused("the environment was refused", why, fix)


def check_size(width: int, height: int) -> None:
    """Raises ContentRefused unless a picture of that size may be decoded."""
    if min(width, height) < 1:
        raise refused(f"its size is {width}x{height}")
    if max(width, height) > MAX_ENVIRONMENT_SIDE or width * height > MAX_ENVIRONMENT_PIXELS:
        raise refused(
            f"it has {width}x{height} pixels; the limits are {MAX_ENVIRONMENT_SIDE} a side and "
            f"{MAX_ENVIRONMENT_PIXELS} in all",
            "Scale it down.",
        )
