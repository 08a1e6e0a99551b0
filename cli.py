"""Run the commands from a checkout: ``python cli.py extract ...`` is ``ser extract ...``."""

from ser_cache.cli import main

if __name__ == "__main__":
    main()
