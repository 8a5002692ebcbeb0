"""The worker's errors: one root, one subclass for each cause.

Errors survive pickling: every value goes to `super().__init__`.
"""


class WorkerError(Exception):
    """The root of all that the worker raises by intent."""


class ConfigurationError(WorkerError):
    """The settings ask for what can't be done; trying again changes nothing."""


class SourceError(WorkerError):
    """A source as a whole can't be read: absent, not what its name says, no `doi` column."""


class NoRecord(SourceError):
    """A source holds something, but nothing that a record can be made of."""


class InternalError(WorkerError, ValueError):
    """A parser failed on a record that it should have taken or rejected: a bug, not the input."""


class LedgerUnavailable(WorkerError):
    """Redis did not answer, or lost its connection; trying again may help."""


class JobUnknown(WorkerError):
    """The ledger has no such job."""


class JobConflict(WorkerError):
    """A job of this name holds another list; that is final."""


class LedgerRejected(WorkerError):
    """Redis refused a request for what is in it; trying again changes nothing."""


class LedgerDamaged(WorkerError):
    """What the ledger has of something is not what was written there; trying again is of no use."""


class JobCancelled(WorkerError):
    """A job was cancelled while it was produced."""


class JobClosed(WorkerError):
    """A job was sealed while its producer was away for too long."""


class JobPaused(WorkerError):
    """A job paused while it was produced: nearly all of its records fail."""


class StoreUnavailable(WorkerError):
    """The vector store did not answer or can't take writes now; trying again may help.

    `retry_after_s` is the pause that the store asked for, in seconds, where it named one.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message, retry_after_s)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return str(self.args[0])


class StoreRejected(WorkerError):
    """The vector store refused a request for what is in it; trying again changes nothing."""


class CollectionMissing(WorkerError):
    """The collection or alias that a request names does not exist (yet, or any more)."""


class Unanswerable(WorkerError):
    """A question that the collection as it is can't answer."""


class SwitchRefused(WorkerError):
    """The alias points elsewhere than the run expects; nothing was moved."""


class StoreBusy(WorkerError):
    """Another process owns the embedded store or its data directory."""


class ModelError(WorkerError):
    """A model can't be loaded or trusted: missing, tampered with, pickled, or another version."""


class EmbeddingError(WorkerError):
    """The model's output is not what it must be: not unit length, not finite, canaries differ."""


class OutOfMemory(WorkerError):
    """The device had no memory for a batch; a smaller one may fit."""


class NoRoom(WorkerError):
    """Not even the shortest text fits into the device's memory; a new process may have some.

    On a CPU what embeds doesn't recover in this one, however much there is afterwards.
    """


class DeviceLost(WorkerError):
    """The accelerator is in a state that only a new process leaves."""


class Stopped(WorkerError):
    """The worker was told to stop while it waited."""


class Interrupted(WorkerError):
    """A person interrupted what can't go on from where it was."""


class BatchLost(WorkerError):
    """Another worker has taken over the batch that this one was working on."""


class Busy(WorkerError):
    """Another process is doing what only one at a time may do."""


class LeaseLost(WorkerError):
    """This process held a lease, was away for too long, and no longer has it."""


class RegistryUnavailable(WorkerError):
    """A registry of DOIs did not answer, or not with what it should; trying again may help."""


class RegistryRefused(WorkerError):
    """A registry refuses to answer (a block by hand, a wrong key); trying again changes nothing."""


class RegistryBlocked(WorkerError):
    """A registry must not be asked before `until`, in Unix seconds: its budget is spent."""

    def __init__(self, message: str, until: float) -> None:
        super().__init__(message, until)
        self.until = until

    def __str__(self) -> str:
        return str(self.args[0])


class IndexUnavailable(WorkerError):
    """The local index is locked, or its disk is full or fails; trying again may help."""


class IndexRejected(WorkerError):
    """The local index is damaged, another program's, or newer; trying again changes nothing."""
