"""What is asked of a trainer's worker, whatever a message holds."""

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis

from tests.support.servers import RedisServer
from trainer.history import History
from trainer.refinement.desk import Desk
from trainer.refinement.pending import Pending, Request
from worker.ledger.ledger import Ledger
from worker.settings.environment import Settings
from worker.settings.servers import RedisSettings

HALF = "\ud83d"  # of a surrogate pair


def test_a_request_is_kept_or_told_in_the_history(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path, redis=RedisSettings(url=redis_server.url))

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError

    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    with closing(Desk(settings, make_refine=never, lost=never)) as desk:
        wrong = ({"recipe": HALF}, {"settings": 1}, {HALF: 1}, {"force": [[]]})
        for number, wishes in enumerate(wrong):
            desk.ask(Request(id=f"task {number}", asked_at=datetime.now(UTC), wishes=wishes))
        assert len(History.below(tmp_path).entries()) == len(wrong)
        asked = {"force": True, "parent": None, HALF: None}
        desk.ask(Request(id="task", asked_at=datetime.now(UTC), wishes=asked))
        with closing(Ledger.connect(settings.redis, options=settings.ingest)) as ledger:
            request = Pending(ledger).read()
    assert request is not None
    assert request.wishes == {"force": True}
