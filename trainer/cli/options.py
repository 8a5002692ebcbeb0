"""Options that several commands of doi-trainer have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from worker.cli.options import in_a_folder

full_option = click.option("--full", is_flag=True, help="All tables and reasons, not only the end.")


def plot_option(words: str) -> Callable[[Any], Any]:
    """The option to draw a picture, as the help says it in `words`."""
    return click.option(
        "--plot",
        type=click.Path(dir_okay=False, path_type=Path),
        callback=in_a_folder,
        metavar="FILE",
        help=words,
    )
