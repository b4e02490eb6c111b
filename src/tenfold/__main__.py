"""Lets ``python -m tenfold`` and ``accelerate launch -m tenfold`` reach the command line."""

import os
import sys

from tenfold.cli.main import main

if __name__ == "__main__":
    status = main()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # All is written. Threads of gloo may abort an interpreter that ends before them, and then the launcher fails.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    raise SystemExit(status)
