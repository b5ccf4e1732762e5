"""`python -m livetrade.cli`: the command line, where its script is not on the path."""

from livetrade.cli import main

if __name__ == "__main__":
    main()
