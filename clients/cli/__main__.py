"""`python -m clients.cli`: the command without its entry-point script."""

import sys

from clients.cli.main import main

sys.exit(main())
