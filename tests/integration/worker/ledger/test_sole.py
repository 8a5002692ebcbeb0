"""What one process at a time may do, on a real Redis."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.servers import RedisServer, wait_until
from worker.errors import Busy, LeaseLost
from worker.ledger.ledger import Ledger
from worker.ledger.sole import Lease, sole

HOLD = """
import sys, time
from worker.ledger.ledger import Ledger
from worker.settings.ingest import IngestSettings
from worker.settings.servers import RedisSettings
from worker.ledger.sole import sole
ledger = Ledger.connect(RedisSettings(url=sys.argv[1]), options=IngestSettings())
with sole(ledger, "promotion", lease_s=float(sys.argv[2])):
    print("held", flush=True)
    time.sleep(600)  # until the test kills it
"""


@pytest.fixture
def holder(ledger: Ledger, redis_server: RedisServer) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLD, redis_server.url, "1.0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def lost(lease: Lease) -> bool:
    try:
        lease.check()
    except LeaseLost:
        return True
    return False


def test_a_living_holder_is_named_at_once(ledger: Ledger, holder: subprocess.Popen[str]) -> None:
    busy = pytest.raises(Busy, match=rf"process {holder.pid} on .* is at it: one promotion at")
    with busy, sole(ledger, "promotion", lease_s=1.0):
        pytest.fail("two at a time")
    with sole(ledger, "another thing", lease_s=1.0) as lease:
        lease.check()


def test_the_lease_of_one_that_died_is_waited_for(
    ledger: Ledger, holder: subprocess.Popen[str]
) -> None:
    holder.kill()
    with sole(ledger, "promotion", lease_s=1.0) as lease:
        lease.check()
        lease.reroute("dois-b")
        assert ledger.route().candidate == "dois-b"


def test_a_lease_that_was_given_back_is_free(ledger: Ledger) -> None:
    for _ in range(3):
        with sole(ledger, "promotion", lease_s=600.0) as lease:
            lease.check()


def test_who_was_away_for_too_long_can_do_no_more(ledger: Ledger) -> None:
    with sole(ledger, "promotion", lease_s=0.4) as lease:
        # As after a night asleep: the lease ran out, and another one had it and is done.
        ledger.let_go("promotion", lease.token)
        with pytest.raises(LeaseLost):
            lease.reroute("dois-b")
        assert ledger.route().candidate is None
        wait_until(lambda: lost(lease))
        with sole(ledger, "promotion", lease_s=600.0) as other:
            lease.renew()
            other.reroute("dois-c")
        assert ledger.route().candidate == "dois-c"
    assert ledger.hold("promotion", "x", words="free", lease_s=1.0) is None


def test_a_route_has_a_new_number_with_every_change(ledger: Ledger) -> None:
    with sole(ledger, "promotion", lease_s=60.0) as lease:
        seen = [ledger.route()]
        for candidate in ("dois-b", None, "dois-b", "dois-b"):
            lease.reroute(candidate)
            seen.append(ledger.route())
    assert [route.candidate for route in seen] == [None, "dois-b", None, "dois-b", "dois-b"]
    numbers = [route.number for route in seen]
    assert numbers[:4] == sorted(set(numbers[:4]))
    assert seen[3] == seen[4], "no change, no new number"


def test_a_name_is_taken_once(ledger: Ledger) -> None:
    assert ledger.once("slot", keep_s=60)
    assert not ledger.once("slot", keep_s=60)
    assert ledger.once("another slot", keep_s=60)
    ledger.note("promotion", "B")
    assert ledger.noted("promotion") == "B"
    ledger.note("promotion", None)
    assert ledger.noted("promotion") is None
