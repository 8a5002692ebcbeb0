"""Options that several commands of doi-trainer have."""

import click

full_option = click.option("--full", is_flag=True, help="All tables and reasons, not only the end.")
