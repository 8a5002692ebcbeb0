"""`python -m tests.faults [SEEDS]`: kills at every named step of a promotion."""

import sys

from tests.faults.promotion import main

if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
