"""Foreign text, cleaned once, whoever gave it: files, snapshots, answers.

Tags are told from text by their names, not by their brackets: to an HTML parser `a<b and c>d`
holds a tag. Each pattern here ends at the next `<` or `&`, so that any text takes linear time.
"""

import re
from html import unescape
from unicodedata import combining, normalize

# Nothing is escaped more often than twice by mistake; what goes on changing is no text.
ROUNDS = 6
MARKS = 30  # on one letter: Unicode's Stream-Safe Text Format (UAX #15); to sort more is slow


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


BLOCK = _words(
    "abstract address article aside blockquote body br caption center col colgroup dd def-list "
    "disp-formula disp-quote div dl dt fig figcaption figure footer graphic h1 h2 h3 h4 h5 h6 head "
    "header hr html img inline-graphic label li list list-item main nav ol p pre sec section table "
    "table-wrap tbody td tex-math tfoot th thead title tr trans-abstract ul"
)
INLINE = _words(
    "a abbr acronym alternatives b bdi bdo big bold cite code del dfn dir em email emphasis "
    "ext-link font formula i inf inline-formula ins italic kbd mark math-inline monospace "
    "named-content overline q roman s samp sans-serif sc scp small span strike strong "
    "styled-content sub sup tt u underline uri var xref"
)
MATH = _words(
    "annotation annotation-xml maction maligngroup malignmark math menclose merror mfenced mfrac "
    "mglyph mi mlabeledtr mmultiscripts mn mo mover mpadded mphantom mprescripts mroot mrow ms "
    "mspace msqrt mstyle msub msubsup msup mtable mtd mtext mtr munder munderover none "
    "semantics"
)
APART = {"math", "mspace", "mtd"}  # a formula is one word: N=88
KNOWN = BLOCK | INLINE | MATH

# What exports write where they know nothing.
PLACEHOLDERS = {
    *("na", "n/a", "n.a.", "nan", "nil", "none", "null", "<na>", "-", "--", "?", "unknown"),
    *("not available", "[not available]", "[not available].", "no title", "[no title]"),
    *("no abstract", "no abstract available", "no abstract available.", "[no abstract available]"),
    *("untitled", "n.d.", "nd", "(no title)", "#n/a", "no doi", "undefined"),
}
CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff]")
INVISIBLE = re.compile("[\u00ad\u200b\u2060\ufeff]")  # a soft hyphen and the like: within words
CROWD = re.compile(rf"[^\w\s\x00-\x7f]{{{MARKS + 1},}}")
AMPERSAND = re.compile(r"&(?:amp;|#0*+38;|#[xX]0*+26;)+", re.IGNORECASE)
ENTITY = re.compile(r"&(?:#[0-9]{1,9}|#[xX][0-9a-fA-F]{1,8}|[a-zA-Z][a-zA-Z0-9]{1,31});")
FORMULA_AGAIN = re.compile(  # in TeX, beside the same in MathML
    r"<((?:\w++:)?annotation)\b[^<>]*+>[^<]*+</\1\s*+>"
    r"|<((?:\w++:)?tex-math)\b[^<>]*+>[^<]*+</\2\s*+>(?=\s*+<(?:\w++:)?math\b)"
)
MARKUP = re.compile(
    r"<!--(?:[^<-]++|<(?!!--)|-(?!->))*+-->|<!\[CDATA\[|\]\]>|<\?(?:[^<>?]|\?(?!>))*+\?>|<!(?i:doctype)\b[^<>]*+>"
    r"|<(?P<end>/?)(?P<space>[a-zA-Z][\w.-]*+:)?(?P<name>[a-zA-Z][\w.-]*+)"
    r"""(?P<attributes>(?:\s++[\w:.-]++\s*+=\s*+(?:"[^"<]*+"|'[^'<]*+'|[^\s"'<>=]++))*+)\s*+/?>"""
)
HEADINGS = re.compile(
    r"(?:\s*+(?:(?i:abstract)(?:[ \t]*+(?:[\n:\N{EN DASH}\N{EM DASH}]|\.(?!\.))|\s++-\s|\s*+\Z)"
    r"|ABSTRACT\s|Abstract\s++(?=[A-Z0-9\xc0-\xde])))++"
)


def clean(text: str, *, is_abstract: bool = False) -> str:
    """The text without markup, entities, control characters and needless blanks, in NFC.

    A blank stands where a block or a formula began or ended, none round what is `<i>` or `<sub>`;
    what only looks like a tag stays (`p < 0.05`, `x <y> z`). Of an abstract a first heading
    "Abstract" goes. What is clean stays as it is.
    """
    if not (text.isascii() and text.isprintable() and "<" not in text and "&" not in text):
        text = _plain(text)
    if is_abstract and (headings := HEADINGS.match(text)):
        text = text[headings.end() :]
    return " ".join(text.split())


def says_nothing(text: str) -> bool:
    """Whether a text is blank, or a word for nothing, such as `N/A`."""
    found = text.strip()
    return not found or (len(found) < 32 and found.casefold() in PLACEHOLDERS)  # noqa: PLR2004


def _plain(text: str) -> str:
    for _ in range(ROUNDS):
        before, text = text, _peeled(text)
        if text == before:
            return text
    return _peeled(re.sub("[<>&]", " ", text))


def _peeled(text: str) -> str:
    """The text without its outermost layer of markup and entities."""
    text = INVISIBLE.sub("", CONTROL.sub(" ", text))
    if "<" in text or "]]>" in text:
        text = _without_tags(FORMULA_AGAIN.sub(" ", text))
    if "&" in text:
        text = ENTITY.sub(lambda found: unescape(found[0]), AMPERSAND.sub("&", text))
    return text if text.isascii() else normalize("NFC", CROWD.sub(_thinned, text))


def _without_tags(text: str) -> str:
    pieces, end, in_formula = [], 0, False
    for found in MARKUP.finditer(text):
        name = (found["name"] or "").lower()
        if name and name not in KNOWN and not found["space"]:
            continue
        piece = text[end : found.start()]
        pieces.append("" if in_formula and piece.isspace() else piece)
        pieces.append("\n" if name in BLOCK else " " if name in APART else "")
        end = found.end()
        in_formula = name in MATH and not (name == "math" and found["end"])
    return "".join((*pieces, text[end:]))


def _thinned(found: re.Match[str]) -> str:
    kept, marks = [], 0
    for character in found[0]:
        marks = marks + 1 if combining(character) else 0
        if marks <= MARKS:
            kept.append(character)
    return "".join(kept)
