"""Run the commands from a checkout: ``python cli.py extract ...`` is ``ser extract ...``."""

try:
    from ser_cache.cli import main
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; run `make demo` once, then: source .venv/bin/activate") from None

if __name__ == "__main__":
    main()
