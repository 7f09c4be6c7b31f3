"""`python -m posthouse`."""

import sys

from posthouse.cli.main import main

sys.exit(main())
