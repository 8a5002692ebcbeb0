"""Compressed files are read as far as they are whole, whatever they unfold to."""

import io
import random
from collections.abc import Callable

import pytest
import zstandard

from worker.sources.compression import ZST_WINDOW_BYTES, BadZstFile, Zst, decompressed

MIB = 2**20
SKIPPABLE = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"note"  # RFC 8878, 3.1.2


def compress(data: bytes, **options: int) -> bytes:
    parameters = zstandard.ZstdCompressionParameters(write_checksum=1, **options)
    # Without its size in the frame: from a pipe it isn't known.
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return compressor.compress(data) + compressor.flush()


def read(compressed: bytes) -> tuple[bytes, str]:
    """What can be read, and the error at its end."""
    stream = io.BufferedReader(io.BytesIO(compressed))  # type: ignore[arg-type]
    found, plain = bytearray(), io.BufferedReader(decompressed(stream))  # type: ignore[arg-type]
    try:
        while piece := plain.read1(1000):
            found += piece
    except (EOFError, OSError) as error:
        return bytes(found), f"{type(error).__name__}: {error}"
    return bytes(found), ""


@pytest.mark.parametrize(
    "write",
    [
        compress,
        lambda text: zstandard.ZstdCompressor().compress(text),
        lambda text: compress(text[:7]) + SKIPPABLE + compress(b"") + compress(text[7:]),
        lambda text: compress(text) + SKIPPABLE,
        lambda text: compress(text, window_log=27),
        lambda text: compress(b"") * 10**5 + compress(text),
    ],
)
def test_zst_is_read(write: Callable[[bytes], bytes]) -> None:
    text = random.Random(7).randbytes(2 * MIB) + b"\n" * MIB
    assert read(write(text)) == (text, "")


def test_what_comes_before_the_end_or_damage_is_read() -> None:
    text = random.Random(7).randbytes(MIB)
    whole = compress(text)
    found, error = read(whole[: MIB // 2])
    assert error == "EOFError: "
    assert text.startswith(found)
    assert len(found) > MIB // 4
    damaged = bytearray(whole)
    damaged[MIB // 2] ^= 0xFF
    found, error = read(bytes(damaged))
    assert "damaged compressed data: " in error
    assert len(found) > MIB // 4
    found, error = read(whole + b"no frame")
    assert (found, error.split(":")[0]) == (text, "BadZstFile")


def test_a_frame_may_not_ask_for_more_memory() -> None:
    found, error = read(compress(b"a" * 100, window_log=28))
    assert found == b""
    assert error.startswith(f"BadZstFile: needs more than {ZST_WINDOW_BYTES >> 20} MiB of memory")


def test_a_small_frame_unfolds_a_little_at_a_time() -> None:
    compressor = zstandard.ZstdCompressor(level=19).compressobj()
    bomb = b"".join(compressor.compress(b"\0" * MIB) for _ in range(300)) + compressor.flush()
    assert len(bomb) < 20_000
    stream = Zst(io.BufferedReader(io.BytesIO(bomb)), "rb")  # type: ignore[arg-type]
    sizes = []
    while stream.read1(10):
        sizes.append(10 + len(stream._text))
        stream._text = memoryview(b"")
    assert sum(sizes) == 300 * MIB
    assert max(sizes) <= 16 * MIB


def test_any_damage_is_an_error_of_the_file() -> None:
    dice = random.Random(7)
    whole = compress(b"10.1000/a\n" * 1000)
    for _ in range(500):
        damaged = bytearray(whole)
        damaged[dice.randrange(4, len(whole))] = dice.randrange(256)
        read(bytes(damaged[: dice.randrange(5, len(whole) + 1)]))
    assert issubclass(BadZstFile, OSError)
