"""``python -m structgen.cli``."""

from structgen.cli import main

if __name__ == "__main__":
    main()
