"""``python -m aot`` is the command ``aot``."""

from aot.cli import main

if __name__ == "__main__":
    main()
