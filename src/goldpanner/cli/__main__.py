"""`python -m goldpanner.cli` is `goldpanner`."""

from goldpanner.cli import main

if __name__ == "__main__":  # not in the worker processes, which import this module again
    main()
