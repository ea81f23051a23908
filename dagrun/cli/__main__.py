"""`python -m dagrun.cli`."""

from dagrun.cli import main

main()
