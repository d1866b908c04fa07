"""The `framemesh` command, also as `python -m framemesh`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line, after this package has made sure that it is ours."""
    from clients.cli.main import main as run  # noqa: PLC0415  `framemesh` must come first

    return run()


if __name__ == "__main__":
    sys.exit(main())
