"""`python -m tests.faults [PART...]`: break doivec in every way that is promised to do no harm."""

import argparse
import logging
import signal
import sys
import time

from tests.faults import (
    delivery,
    fuzzing,
    ghost,
    kills,
    network,
    planted_bugs,
    power,
    promotion,
    resources,
    training,
    walk,
)
from tests.faults.runner import RESULTS, Part, Results, SourceChanged, run, some, source

PARTS = {
    # First: it has processes forked from one that has the Trainer loaded.
    "training": Part(training.ROUNDS, training.rounds),
    "walks": Part(walk.ROUNDS, walk.rounds),
    "kills": Part(kills.ROUNDS, kills.rounds),
    "ghost": Part(ghost.ROUNDS, ghost.rounds),
    "delivery": Part(delivery.ROUNDS, delivery.rounds),
    "network": Part(network.ROUNDS, network.rounds),
    "resources": Part(resources.ROUNDS, resources.rounds),
    "power": Part(power.ROUNDS, power.rounds),
    "promotion": Part(promotion.ROUNDS, promotion.rounds),
    "inputs": Part(fuzzing.ROUNDS, fuzzing.rounds),
    "planted": Part(planted_bugs.ROUNDS, planted_bugs.rounds),
}
MINUTES = 55.0


def main() -> int:
    """Run parts, and say by the exit code what came of it.

    1: a promise was broken. 3: some is left to be run. 4: so it is, of a part whose first rounds
    were of another source.
    """
    given = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no server is left behind
    logging.disable()  # what the bench itself waits for
    parts = {name: PARTS[name] for name in given.parts or PARTS}
    try:
        if given.seeds:
            first, _, last = given.seeds.partition("-")
            for name, part in parts.items():
                did = some(name, part, range(int(first), int(last or first) + 1))
                print(f"{name}: {dict(sorted(did.items()))}")
            return 0
        results = Results(RESULTS, source=source())
        for name in parts if given.anew else ():
            results.forget(name)
        if run(parts, results, until=time.monotonic() + 60 * given.minutes):
            return 0
        print("there is more to run: the same command goes on from here")
    except AssertionError as error:
        print(f"broken: {error}", file=sys.stderr)
        return 1
    except SourceChanged as error:
        print(error, file=sys.stderr)
        return 4
    return 3


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    names = ", ".join(PARTS)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=names)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="stop after so long")
    parser.add_argument("--seeds", metavar="A-B", help="only these, and no results are kept")
    parser.add_argument("--anew", action="store_true", help="as if nothing had been run")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
