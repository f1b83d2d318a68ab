"""`python -m proxyclip_core` is the command `proxyclip`."""

import sys

from proxyclip_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
