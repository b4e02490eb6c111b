"""Lets ``python -m tenfold`` and ``accelerate launch -m tenfold`` reach the command line."""

from tenfold.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
