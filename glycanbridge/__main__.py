"""`python -m glycanbridge` is the command `glycanbridge`."""

from glycanbridge.cli import main

main()
