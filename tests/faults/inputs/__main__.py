"""`python -m tests.faults.inputs [--cases N] [--target NAME] [--first SEED]`."""

from argparse import ArgumentParser

from tests.faults.inputs.bench import fuzz_targets, spread, table, tell_crashes
from tests.faults.inputs.targets import TARGETS


def main() -> None:
    """Run cases, and print what became of them."""
    parser = ArgumentParser(prog="python -m tests.faults.inputs")
    parser.add_argument("--cases", type=int, default=20_000, help="how many, of all targets")
    parser.add_argument("--target", choices=[t.name for t in TARGETS], help="only this one")
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    asked = parser.parse_args()
    tell_crashes()
    if asked.target:
        (target,) = (t for t in TARGETS if t.name == asked.target)
        shares = [(target, range(asked.first, asked.first + asked.cases))]
    else:
        shares = list(spread(TARGETS, asked.cases, first=asked.first))
    print(table(fuzz_targets(shares)))


if __name__ == "__main__":
    main()
