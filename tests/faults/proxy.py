"""A TCP proxy that does to what passes what networks do: its harms are told to it while it runs."""

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, NamedTuple

from tests.support.servers import free_port

CHUNK_BYTES = 16384
START_S = 10.0
QUESTIONS, ANSWERS = DIRECTIONS = ("questions", "answers")
BOTH = "both"
LATENCY, BANDWIDTH, RESET, SLOW_CLOSE, CUT_CLOSED, CUT_SILENT, BLACKHOLE, LOST_ANSWER = KINDS = (
    *("latency", "bandwidth", "reset", "slow close", "cut and closed", "cut and silent"),
    *("blackhole", "answer lost"),
)
STOPPING = (RESET, SLOW_CLOSE, CUT_CLOSED, CUT_SILENT)  # each after so many bytes


class Toxic(NamedTuple):
    """What is done to what passes a link in one direction.

    `size` is after how many of a connection's bytes it stops, or how many a second may pass;
    `seconds` is by how much, on average, each piece is late, or how much later than one side the
    other is closed. An answer is lost where `asks` finds in the question what it looks for; it
    returns how it is called then.
    """

    kind: str
    direction: str
    size: int = 0
    seconds: float = 0.0
    asks: Callable[[bytes], str | None] = lambda _: None


class Link:
    """A port that leads to another one; harmless until it is told a toxic."""

    def __init__(self, name: str, target: int, *, seed: int = 0) -> None:
        self.name = name
        self.port = free_port()
        self.struck: list[str] = []  # what was done since the last toxic was told
        self.toxic: Toxic | None = None
        self.chosen = random.Random(seed)
        self._target = target
        self._pairs: set[Pair] = set()
        self._lifted = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._wait(self._listen())

    def poison(self, toxic: Toxic) -> None:
        """Do so from now on, on connections that are there as on new ones."""
        self._wait(self._set(toxic))

    def heal(self) -> None:
        """Let all pass again; what was held is delivered, late."""
        self._wait(self._set(None))

    def close(self) -> None:
        """End the link, and each connection over it."""
        self._wait(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_S)
        self._loop.close()

    async def lifted(self) -> None:
        """Wait until the toxic is lifted."""
        await self._lifted.wait()

    def _wait(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(START_S)

    async def _set(self, toxic: Toxic | None) -> None:
        if toxic:
            self._lifted.clear()
            self.struck = []
            for pair in self._pairs:
                pair.passed = dict.fromkeys(DIRECTIONS, 0)
        self.toxic = toxic
        if not toxic:
            self._lifted.set()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(
            self._connected, "127.0.0.1", self.port, limit=CHUNK_BYTES
        )

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection("127.0.0.1", self._target, limit=CHUNK_BYTES)
        except OSError:
            _reset(writer)
            return
        pair = Pair(self, client=(reader, writer), server=there)
        self._pairs.add(pair)
        try:
            await pair.run()
        finally:
            self._pairs.discard(pair)

    async def _end(self) -> None:
        self._server.close()
        for pair in list(self._pairs):
            pair.reset()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Pair:
    """A client's connection and the one that leads on to the server."""

    def __init__(self, link: Link, *, client: Streams, server: Streams) -> None:
        self.passed = dict.fromkeys(DIRECTIONS, 0)
        self._link = link
        self._client, self._server = client, server
        self._asked: str | None = None  # the question whose answer is to be lost

    async def run(self) -> None:
        """Pass on what comes, both ways, until both sides are done."""
        (asks, to_client), (answers, to_server) = self._client, self._server
        ways = (
            self._pass(asks, to_server, QUESTIONS),
            self._pass(answers, to_client, ANSWERS),
        )
        await asyncio.gather(*ways)
        for writer in (to_client, to_server):
            writer.close()

    def reset(self) -> None:
        """End both sides as a machine does that knows of no such connection (RST)."""
        for _, writer in (self._client, self._server):
            _reset(writer)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str
    ) -> None:
        try:
            while data := await reader.read(CHUNK_BYTES):
                if not await self._deliver(data, writer, way):
                    return
            writer.write_eof()
        except OSError:  # one side is gone, so the other one is told
            self.reset()

    async def _deliver(self, data: bytes, writer: asyncio.StreamWriter, way: str) -> bool:
        """Pass a piece on, as the toxic lets it; False where nothing more will pass."""
        toxic = self._link.toxic
        if toxic and toxic.kind == LOST_ANSWER:
            return await self._lose(data, writer, way, toxic)
        if toxic and toxic.direction in (way, BOTH):
            if toxic.kind in STOPPING and self.passed[way] + len(data) > toxic.size:
                await self._stop(data[: max(0, toxic.size - self.passed[way])], writer, toxic)
                return False
            self._struck(f"{toxic.kind}, {toxic.direction}")
            await self._delay(data, toxic)
        self.passed[way] += len(data)
        writer.write(data)
        await writer.drain()
        return True

    async def _delay(self, data: bytes, toxic: Toxic) -> None:
        if toxic.kind == LATENCY:
            await asyncio.sleep(self._link.chosen.uniform(0, 2 * toxic.seconds))
        elif toxic.kind == BANDWIDTH:
            await asyncio.sleep(len(data) / toxic.size)
        elif toxic.kind == BLACKHOLE:
            await self._link.lifted()

    async def _stop(self, last: bytes, writer: asyncio.StreamWriter, toxic: Toxic) -> None:
        """Pass the last bytes on, and then nothing more, in the way of the toxic."""
        self._struck(f"{toxic.kind}, {toxic.direction}")
        writer.write(last)
        await writer.drain()
        if toxic.kind == CUT_SILENT:
            await self._link.lifted()
        elif toxic.kind == SLOW_CLOSE:
            writer.write_eof()
            await asyncio.sleep(toxic.seconds)
        if toxic.kind in (RESET, CUT_SILENT):
            self.reset()
        else:
            for _, side in (self._client, self._server):
                side.close()

    async def _lose(
        self, data: bytes, writer: asyncio.StreamWriter, way: str, toxic: Toxic
    ) -> bool:
        """Pass questions on, and reset the connection in place of the answer."""
        if way == ANSWERS and self._asked:
            self._struck(f"answer lost, {self._asked}")
            self.reset()
            return False
        if way == QUESTIONS:
            self._asked = toxic.asks(data) or self._asked
        writer.write(data)
        await writer.drain()
        return True

    def _struck(self, words: str) -> None:
        self._link.struck.append(f"{self._link.name}, {words}")


def _reset(writer: asyncio.StreamWriter) -> None:
    if (own := writer.get_extra_info("socket")) and not writer.transport.is_closing():
        with suppress(OSError):
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
