"""`python -m walkforge` is the `walkforge` command."""

from walkforge.cli import main

main()
