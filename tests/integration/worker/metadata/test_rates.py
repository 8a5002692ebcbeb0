"""The limits in force: the server counts, and would answer 429."""

from concurrent.futures import ThreadPoolExecutor
from threading import Thread

import httpx2
import pytest

from tests.integration.worker.metadata.conftest import Open
from tests.support.registries import TEXT, Registries, instead
from tests.support.servers import wait_until
from worker.errors import Stopped
from worker.metadata.answers import Registry

LISTS = [[f"10.1000/{n}a{m}" for m in range(3)] for n in range(45)]


def test_the_server_refuses_a_fourth_request_at_once(server: Registries) -> None:
    server.polite("polite", lists=(3, 3), alone=(10, 3))
    server.crossref.takes_s = 0.3

    def status(_: int) -> int:
        return httpx2.get(f"{server.crossref.url}/works/10.1000%2Fa").status_code

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(status, range(4))) == [404, 404, 404, 429]
    assert server.crossref.refused == 1
    assert server.crossref.highest_at_once == 4
    assert server.crossref.highest_rate() == 4


def ask_all(registry: Registry, lists: list[list[str]], *, threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(registry.ask, lists):
            pass


def test_the_rate_and_the_number_at_once_are_those_of_the_answers(
    server: Registries, opened: Open
) -> None:
    server.polite("polite", lists=(20, 2), alone=(20, 2))
    server.crossref.takes_s = 0.02
    ask_all(opened("crossref"), LISTS, threads=8)
    assert server.crossref.refused == 0
    assert server.crossref.highest_rate() <= 20
    assert server.crossref.highest_at_once == 2
    assert set(server.crossref.asked.values()) == {1}


def test_until_an_answer_allows_more_it_is_one_at_once(server: Registries, opened: Open) -> None:
    server.polite("public", lists=(1, 1), alone=(5, 1))
    ask_all(opened("crossref"), LISTS[:3], threads=3)
    assert server.crossref.refused == 0
    assert server.crossref.highest_rate() == server.crossref.highest_at_once == 1


def test_lists_and_single_dois_have_limits_of_their_own_and_share_them(
    server: Registries, opened: Open
) -> None:
    server.polite("polite", lists=(5, 3), alone=(10, 3))
    registry = opened("crossref")
    registry.ask(["10.1000/a", "10.1000/b", "10.1000/1,2"])
    ask_all(registry, [*LISTS[:6], *([f"10.1000/1,{n}"] for n in range(6))], threads=4)
    assert server.crossref.refused == 0
    assert server.crossref.highest_rate("list") <= 5
    assert server.crossref.highest_rate() <= 10


def test_a_limit_that_is_lowered_holds_at_once(server: Registries, opened: Open) -> None:
    registry = opened("crossref")
    ask_all(registry, LISTS[:20], threads=3)
    server.polite("polite", lists=(3, 1), alone=(3, 1))
    server.crossref.arrivals.clear()
    registry.ask(LISTS[20])  # says so
    ask_all(registry, LISTS[21:26], threads=3)
    assert server.crossref.highest_rate() <= 3
    assert server.crossref.refused == 0


def test_what_one_thread_is_told_holds_for_all(server: Registries, opened: Open) -> None:
    registry = opened("crossref")
    registry.ask(LISTS[0])
    server.crossref.faults.append(instead("", 429, TEXT, retry_after="1"))
    server.crossref.arrivals.clear()
    registry.ask(LISTS[1])
    first, second = server.crossref.arrivals["list"]
    ask_all(registry, LISTS[2:5], threads=3)
    assert second - first >= 1


@pytest.mark.parametrize("name", ["openalex", "datacite"])
def test_others_say_no_limits_and_are_spared(server: Registries, opened: Open, name: str) -> None:
    registry = opened(name)
    ask_all(registry, LISTS[:12], threads=4)
    assert getattr(server, name).highest_rate() <= {"openalex": 5, "datacite": 10}[name]
    assert getattr(server, name).highest_rate(interval_s=3.0) <= 15
    assert getattr(server, name).highest_at_once <= registry.threads


def test_closing_ends_all_waiting(server: Registries, opened: Open) -> None:
    registry = opened("crossref")
    server.crossref.always = instead("", 429, TEXT, retry_after="25")
    ended: list[BaseException] = []

    def ask() -> None:
        try:
            registry.ask(LISTS[0])
        except Stopped as error:
            ended.append(error)

    thread = Thread(target=ask)
    thread.start()
    wait_until(lambda: bool(server.crossref.paths))
    registry.close()
    thread.join(10)
    assert len(ended) == 1
    with pytest.raises(Stopped):
        registry.ask(LISTS[1])
