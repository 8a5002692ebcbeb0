"""What all plots share: drawn without a display or global state, written as PNG.

Colours are Okabe and Ito's, which colour-blind readers can tell apart
(https://jfly.uni-koeln.de/color/); lines differ by dashes or markers besides. Names come from
outside, so none is read as mathematical notation.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from schemas.evaluation import Estimate

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DOTS_PER_INCH = 100
NAME_CHARACTERS = 44

Floats = NDArray[np.float64]


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of this size in inches, and its one panel."""
    figure, (axes,) = panels(width, height)
    return figure, axes


def panels(
    width: float, height: float, *, rows: int = 1, columns: int = 1
) -> tuple[Figure, list[Axes]]:
    """A figure of this size in inches, and its panels, row by row."""
    figure = Figure((width, height), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    found = figure.subplots(rows, columns, squeeze=False, sharex=rows > 1)
    return figure, [_quiet(axes) for axes in found.flat]


def errors(marks: Sequence[Estimate]) -> Floats:
    """How far each interval reaches below and above its value, float64 [2, n]."""
    sides = [[max(m.value - m.low, 0) for m in marks], [max(m.high - m.value, 0) for m in marks]]
    return np.asarray(sides, np.float64)


def legend(axes: Axes, **place: Any) -> None:
    """Say what is what."""
    made = axes.legend(frameon=False, fontsize="small", **place)
    for text in made.get_texts():
        text.set_parse_math(False)


def short(name: str) -> str:
    """A name that leaves room for the plot."""
    return name if len(name) <= NAME_CHARACTERS else name[: NAME_CHARACTERS - 1] + "…"


def nth(cycle: Sequence[str], number: int) -> str:
    """The colour or the like of what has this number."""
    return cycle[number % len(cycle)]


def save(figure: Figure, path: Path) -> None:
    """Write the picture, and the folder that it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", pil_kwargs={"optimize": True})


def _quiet(axes: Axes) -> Axes:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.9", lw=0.8)
    axes.set_axisbelow(True)
    return axes
