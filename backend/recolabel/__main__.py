"""`python -m recolabel` is the command line."""

from recolabel.cli import main

if __name__ == "__main__":
    main()
