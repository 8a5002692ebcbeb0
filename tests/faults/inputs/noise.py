"""What damages input: bytes, texts and values of JSON, each drawn from a `random.Random`."""

from random import Random
from typing import Any

DEEP = 900  # levels of nesting: nearly as many as Python's parser of JSON takes
PIECES = (
    *(b'"', b"'", b",", b";", b"\t", b"\n", b"\r", b"\r\n", b" ", b"\0", b"\xff", b"\xef\xbb\xbf"),
    *(b"{", b"}", b"[", b"]", b"<", b">", b"&", b"&amp;", b"%", b"%2F", b"\\", b"\\u", b"$", b"#"),
    *(b"10.", b"10.1000/", b"https://doi.org/", b"doi:", b"DOI: ", b"null", b"NaN", b"1e999"),
    *(
        b"-1",
        b"0",
        b"9" * 400,
        b"[" * 400,
        b"{" * 400,
        b"=" * 9,
        b"\xc3",
        b"\xed\xa0\x80",
        b"\x1b[2J",
    ),
    *(
        b"@article{",
        b"TY  - ",
        b"ER  - ",
        b"PMID- ",
        b"%0 ",
        b"PT J",
        b"<br/>",
        b"<i>",
        b"\xe2\x80\x90",
    ),
)
TEXTS = (
    *("", " ", "\0", "\x1b[2J", "\ud800", "\udcff", "\u200b", "\u202e", "é", "ß", "İ", "ﬁ", "𝟙𝟘"),
    *("N/A", "null", "nan", "1e999", "-1", "0", "true", "[]", "{}", "../x", "/", ".", "..", "a\nb"),
    *("10.1000/a", "10.1000/b 10.1000/c", "https://doi.org/10.1000/d", "{title}", "{doi.x}", "<b>"),
    *("x" * 3000, "9" * 5000, "́" * 200, "%00", "a:b", "2001-05-01", "١٩٩٩"),
)
NUMBERS = (
    *(0, 1, -1, 2, 7, 1999, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**30, -(10**30)),
    *(0.0, -0.0, 0.5, 1e-300, 1e300, float("inf"), float("-inf"), float("nan"), 1999.0, 2e3),
)
PLAIN = (None, True, False, None, True, False, [], {}, [None], [[]], {"": None}, "10.1000/a")


def damaged(rng: Random, data: bytes, *, most: int = 4) -> bytes:
    """The data with one to `most` damages: bits, pieces put in, parts cut, doubled or swapped."""
    made = bytearray(data)
    for _ in range(rng.randint(1, most)):
        rng.choice(DAMAGES)(rng, made)
    return bytes(made)


def flipped(rng: Random, data: bytes) -> bytes:
    """The data with one to three bytes that are others."""
    made = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        rng.choice((_flip, _overwrite))(rng, made)
    return bytes(made)


def _flip(rng: Random, data: bytearray) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _overwrite(rng: Random, data: bytearray) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.randrange(256)


def _put_in(rng: Random, data: bytearray) -> None:
    at = rng.randint(0, len(data))
    data[at:at] = rng.choice(PIECES)


def _part(rng: Random, data: bytearray) -> slice:
    start = rng.randint(0, len(data))
    return slice(start, start + rng.choice((1, 2, 4, 16, 64, 256)))


def _cut(rng: Random, data: bytearray) -> None:
    del data[_part(rng, data)]


def _double(rng: Random, data: bytearray) -> None:
    at = rng.randint(0, len(data))
    data[at:at] = data[_part(rng, data)] * rng.choice((1, 1, 1, 3))


def _swap(rng: Random, data: bytearray) -> None:
    part = _part(rng, data)
    moved = bytes(data[part])
    del data[part]
    at = rng.randint(0, len(data))
    data[at:at] = moved


def _truncate(rng: Random, data: bytearray) -> None:
    del data[rng.randint(0, len(data)) :]


DAMAGES = (_flip, _flip, _overwrite, _put_in, _put_in, _cut, _double, _swap, _truncate)


def text(rng: Random) -> str:
    """A text that is odd, or made of any characters."""
    if rng.random() < 0.6:
        return rng.choice(TEXTS)
    ranges = ((32, 126), (32, 126), (0, 0x2FF), (0x2000, 0x20FF), (0, 0x10FFFF))
    return "".join(chr(rng.randint(*rng.choice(ranges))) for _ in range(rng.randint(0, 12)))


def value(rng: Random, *, depth: int = 2) -> Any:
    """A value of JSON that nobody expects."""
    kind = rng.randrange(10 if depth else 7)
    if kind < 7:
        return text(rng) if kind < 2 else rng.choice(NUMBERS if kind < 4 else PLAIN)
    inner = [value(rng, depth=depth - 1) for _ in range(rng.randint(0, 3))]
    if kind == 7:
        return inner
    return {text(rng): one for one in inner} if kind == 8 else nested(rng)


def nested(rng: Random) -> Any:
    """Lists within lists."""
    made: Any = []
    for _ in range(rng.choice((2, 40, 300, DEEP))):
        made = [made]
    return made


def mangled(rng: Random, given: Any, *, most: int = 2) -> Any:
    """A copy of a value of JSON, of which a few parts are gone, there twice, or something else."""
    for _ in range(rng.randint(1, most)):
        given = _mangle(rng, given)
    return given


def _mangle(rng: Random, given: Any) -> Any:
    if not isinstance(given, dict | list) or not given or rng.random() < 0.15:
        return value(rng)
    keys = list(given) if isinstance(given, dict) else list(range(len(given)))
    key, made = rng.choice(keys), given.copy()
    act = rng.random()
    if act < 0.1:
        del made[key]
    elif act < 0.2 and isinstance(made, list):
        made.append(made[key])
    elif act < 0.2:
        made[text(rng)] = made[key]
    else:
        made[key] = _mangle(rng, made[key])
    return made
