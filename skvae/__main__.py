"""``python -m skvae`` is the tour of the package; with arguments it is the command line."""

import sys

if __name__ == "__main__":
    if len(sys.argv) > 1:
        from skvae._command.program import main

        sys.exit(main())
    from skvae._tour import main as tour

    tour()
