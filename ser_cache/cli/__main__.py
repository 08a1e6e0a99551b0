"""``python -m ser_cache.cli``: the same as ``ser``, for an interpreter whose scripts are not on the path."""

from ser_cache.cli import main

main()
