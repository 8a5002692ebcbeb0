"""The command that asks the collection for similar DOIs."""

import click

from worker import bootstrap
from worker.cli import console
from worker.cli.options import Group, as_json
from worker.settings import read_settings

commands = Group("commands")


@commands.example('doi-worker search --text "array programming" -k 5 --registrant 10.1038')
@click.argument("doi", required=False)
@click.option("--text", help="Search with a text instead of a DOI.")
@click.option("-k", "k", default=10, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--registrant", help="Only DOIs of this prefix, such as 10.1038.")
@as_json
def search(doi: str | None, text: str | None, k: int, registrant: str | None, as_json: bool) -> int:
    """Print the DOIs most similar to a DOI, or to a text, with their cosine similarity."""
    if (doi is None) == (text is None):
        raise click.UsageError("give a DOI or --text, one of the two")
    with bootstrap.open_searcher(read_settings()) as searcher:
        hits = searcher.search(doi, text=text, k=k, registrant=registrant)
    if as_json:
        console.say_json([hit.model_dump() for hit in hits])
    else:
        console.print_hits(hits)
    return 0
