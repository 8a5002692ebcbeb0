"""The command that moves from the data directory to servers."""

from worker import bootstrap
from worker.cli import console
from worker.cli.options import Group, as_json
from worker.cli.progress import Bar, counted
from worker.settings.environment import read_settings

commands = Group("commands")


@commands.example("doi-worker migrate")
@as_json
def migrate(as_json: bool) -> int:
    """Move what ran without servers to the Redis and the Qdrant of the settings.

    Jobs, dead letters and deletions come along with their order, and every collection with its
    vectors: nothing is embedded again. Models stay in DOIVEC_DATA_DIR. No worker may run on either
    side meanwhile. Interrupted, the same command goes on; what is in the data directory stays as it
    is.
    """
    settings = read_settings()
    with bootstrap.moving(settings) as move:
        console.print_place(settings, is_private=False)
        move.check()
        done = 0
        with Bar("copying", unit="points") as bar:
            for done, total in move.points():
                bar.show(done, total)
        keys = sum(1 for _ in counted(move.ledger(), "copying the ledger", unit="keys"))
    root = settings.data_dir.absolute()
    words = (
        f"{done:,} points and {keys:,} keys are on the servers. Workers on other machines need the "
        f"models: `rsync -a {root}/models/ HOST:DATA_DIR/models/`. What is in {root}/redis and "
        f"{root}/edge is not used any more with these settings; `doi-worker audit` and `doi-worker "
        "verify` say whether all is there, then both can be removed"
    )
    console.say_answer({"points": done, "keys": keys}, words, as_json=as_json)
    return 0
