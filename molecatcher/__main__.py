"""`python -m molecatcher`."""

from molecatcher.cli import main

main()
