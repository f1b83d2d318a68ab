"""The command `proxyclip`, which is `python -m proxyclip_core` as well."""

import sys

from proxyclip_core.interrupt import INTERRUPTED


def main() -> int:
    """Runs the command of sys.argv and returns its exit status. What it needs is imported in here, as that takes some
    seconds, and Ctrl-C is to end it without a traceback from the first of them."""
    try:
        from proxyclip_core.cli import main as run
    except KeyboardInterrupt:
        return INTERRUPTED
    return run()


if __name__ == "__main__":
    sys.exit(main())
