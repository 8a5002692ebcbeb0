"""Commands on what the collection holds."""

import click

from worker import bootstrap
from worker.cli import console
from worker.cli.options import Group, as_json
from worker.embedded.owner import refuse_any_owner
from worker.settings import read_settings

commands = Group("commands")


@commands.example("doi-worker adopt")
@as_json
def adopt(as_json: bool) -> int:
    """Take this ledger and this store for one deployment, after a restore.

    Each remembers the other, and every command and worker refuses a pair that doesn't belong
    together. This makes them one, whatever they were: see that no worker runs, and that both are
    those that you mean.
    """
    with bootstrap.connect(read_settings(), command="adopt", compares=False) as client:
        refuse_any_owner(client.owner)
        made = bootstrap.adopt(client)
        has = "with its collections" if made.has_store else "which has no collection yet"
        console.say_answer(
            made._asdict(), f"deployment {made.id}: {made.alias}, {has}", as_json=as_json
        )
        return 0


@commands.example("doi-worker delete 10.1038/s41586-020-2649-2")
@click.argument("dois", nargs=-1, required=True, metavar="DOI...")
@as_json
def delete(dois: tuple[str, ...], as_json: bool) -> int:
    """Remove DOIs from the collection, for good: late messages don't bring them back."""
    with bootstrap.connect(read_settings(), command="delete") as client:
        removed = bootstrap.delete(client, dois)
        done = "removed" if removed else "will be removed with the running worker's next sweep"
        answer = {"dois": len(dois), "removed": removed}
        console.say_answer(answer, f"{len(dois):,} DOIs {done}", as_json=as_json)
        return 0
