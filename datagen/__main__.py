"""`datagen`, and `python -m datagen`."""

from __future__ import annotations

import sys


def main() -> None:
    """The entry point: Ctrl-C may come while the program loads, which takes half a second."""
    try:
        from datagen.cli import main as run
    except KeyboardInterrupt:
        print("interrupted: nothing was begun", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
