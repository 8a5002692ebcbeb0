"""Where things are: the checkout, its example, and real data beside it where there is some."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "dois.txt"
DOIS = [line for line in EXAMPLES.read_text().splitlines() if line and not line.startswith("#")]
DATA = ROOT.parent / "shared" / "data"
