"""Whose fault an error is: of the times, the batch, the worker or the record.

docs/decisions.md has the table; here it stands in code, and nowhere else.
"""

from worker.errors import (
    BatchLost,
    CollectionMissing,
    ConfigurationError,
    DeviceLost,
    ModelError,
    NoRoom,
    Stopped,
    StoreBusy,
)
from worker.patience import TRANSIENT

# The batch goes back to the ledger, and its claim doesn't count: the next one will do.
GIVEN_BACK = (Stopped, BatchLost, CollectionMissing)
# The worker ends: another start, or another machine, may do better.
ENDS_WORKER = (ModelError, DeviceLost, NoRoom)
# What is not the fault of the items that were tried, so that halving them is of no use.
INFRASTRUCTURE = (*TRANSIENT, *GIVEN_BACK, *ENDS_WORKER, ConfigurationError, StoreBusy)
# A candidate that is gone, or whose model fails, is not written to: its promotion is told what it
# lacks, and a route that has changed meanwhile is seen when the batch settles.
FAILS_CANDIDATE = (ModelError, CollectionMissing, NoRoom)
