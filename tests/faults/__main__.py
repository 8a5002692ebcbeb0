"""`python -m tests.faults [SEEDS]`: random walks, and kills at every named step of a promotion."""

import sys

from tests.faults.promotion import main
from tests.faults.walk import walks

WALKS_A_SEED = 25

if __name__ == "__main__":
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    done = walks(range(WALKS_A_SEED * seeds))
    print(f"{WALKS_A_SEED * seeds} random walks: {dict(done)}", flush=True)
    main(seeds, walks=WALKS_A_SEED * seeds)
