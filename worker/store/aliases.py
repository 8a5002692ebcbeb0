"""The aliases of a Qdrant server, and the one call that moves one of them with its guard."""

from collections.abc import Mapping, Sequence

from qdrant_client import grpc as wire

from worker.errors import CollectionMissing, SwitchRefused
from worker.store.connection import Connection
from worker.store.names import guard_of, guards


class Aliases:
    """The aliases of the server behind a connection."""

    def __init__(self, server: Connection) -> None:
        self._server = server

    def all(self) -> dict[str, str]:
        """The collection of every alias."""
        answer = self._server.call(self._server.collections.ListAliases, wire.ListAliasesRequest())
        return {alias.alias_name: alias.collection_name for alias in answer.aliases}

    def publish(self, aliases: Sequence[str], *, collection: str) -> None:
        """See `VectorStore`."""
        there = self.all()
        for alias in aliases:
            if alias not in there:
                self._change([_create(alias, collection)])

    def switch(self, alias: str, *, expected: str, collection: str) -> None:
        """See `VectorStore`.

        Qdrant takes the actions of a call one after the other and under one lock. The first
        renames the guard that is named after the live collection; it fails where another
        switch was first. A crash may leave any of the first actions done: then that guard is
        missing, and is made again before the call, or only what it points at is wrong.
        """
        there = self._guarded(alias)
        live = there.get(alias)
        if live not in {expected, collection}:
            raise SwitchRefused(f"the alias {alias} points at {live}, not at {expected}")
        if not self._server.exists(collection):
            raise CollectionMissing(f"there is no collection {collection} to switch to")
        if live == collection and _is_guarded(alias, there):
            return
        try:
            self._change(_moves(alias, there, collection=collection))
        except CollectionMissing as error:  # or an alias: the code is the same
            if not self._server.exists(collection):
                raise
            raise SwitchRefused(f"the alias {alias} was switched by another: {error}") from error

    def _guarded(self, alias: str) -> dict[str, str]:
        """All aliases, once `alias` has its guard, if it is there."""
        there = self.all()
        live = there.get(alias)
        if live is None or guard_of(alias, live) in there:
            return there
        self._change([_create(guard_of(alias, live), live)])
        return self.all()  # looked at after the guard is there, or two could get through

    def _change(self, actions: Sequence[wire.AliasOperations]) -> None:
        changes = wire.ChangeAliases(actions=actions)
        self._server.call(self._server.collections.UpdateAliases, changes)


def _is_guarded(alias: str, there: Mapping[str, str]) -> bool:
    """Whether the guard of `alias` is as a finished switch leaves it, and the only one."""
    guard = guard_of(alias, there[alias])
    return guards(alias, there) == [guard] and there[guard] == there[alias]


def _moves(alias: str, there: Mapping[str, str], *, collection: str) -> list[wire.AliasOperations]:
    """The actions that take `alias` and its guard to `collection`, and no other guard along."""
    held, target = guard_of(alias, there[alias]), guard_of(alias, collection)
    stale = [guard for guard in guards(alias, there) if guard not in {held, target}]
    rename = wire.RenameAlias(old_alias_name=held, new_alias_name=target)
    return [
        wire.AliasOperations(rename_alias=rename),
        _create(alias, collection),
        _create(target, collection),
        *(wire.AliasOperations(delete_alias=wire.DeleteAlias(alias_name=g)) for g in stale),
    ]


def _create(alias: str, collection: str) -> wire.AliasOperations:
    """Make `alias`, or move it where it is there."""
    new = wire.CreateAlias(alias_name=alias, collection_name=collection)
    return wire.AliasOperations(create_alias=new)
