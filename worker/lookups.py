"""What looks DOIs up."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from worker.bootstrap import Client, metadata_index, open_contents
from worker.completion import Completion
from worker.files import locked
from worker.ledger.sole import sole
from worker.metadata.memory import Agencies, Spending
from worker.metadata.resolver import Resolver
from worker.settings.environment import Settings


@contextmanager
def open_resolver(settings: Settings) -> Iterator[Resolver]:
    """What looks DOIs up, one on an index at a time; raises `Busy` and `ConfigurationError`."""
    from worker.metadata.registries.opening import open_registries  # noqa: PLC0415

    index = metadata_index(settings)
    with locked(index.path.with_name("resolver.lock")):
        registries = open_registries(
            settings.metadata,
            budget=Spending(index, usd_a_day=settings.metadata.openalex_usd_a_day),
            agencies=Agencies(index),
        )
        with closing(Resolver(index, registries, settings=settings.metadata)) as resolver:
            yield resolver


def completion(client: Client, resolver: Resolver) -> Completion:
    """What brings titles to the client's live collection."""
    settings = client.settings
    return Completion(
        resolver,
        client.producer,
        contents=lambda: open_contents(settings),
        wanted={"title", settings.metadata.want},
        folder=settings.data_dir,
    )


@contextmanager
def sole_resolver(client: Client) -> Iterator[Callable[[], None]]:
    """Be the only resolver of a ledger; what it gives raises `LeaseLost` where it isn't any more.

    Raises `Busy`.
    """
    with sole(client.ledger, "resolver", lease_s=client.settings.ingest.lease_s) as lease:
        yield lease.check
