"""LaTeX as it stands in bibliographies, to plain text: accents, symbols, braces, a little math.

pylatexenc knows the symbols, and its own parser would read more of LaTeX; but that takes
milliseconds for a title, and loses what nobody escaped: all after `50%` is a comment to it.
"""

import re
from unicodedata import normalize

from pylatexenc.latex2text import get_default_latex_context_db

ACCENTS = dict(
    zip(
        "`'^~=u.\"rHvdckbt",
        "\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0323\u0327\u0328\u0331\u0361",
        strict=True,
    )
)
PLAIN = {"``": "“", "''": "”", "---": "—", "--": "–", "~": " ", "{": "", "}": ""}
MORE_SYMBOLS = {
    "BibTeX": "BibTeX",
    "LaTeX": "LaTeX",
    "TeX": "TeX",
    "copyright": "©",
    "degree": "°",
    "gt": ">",
    "hspace": "",
    "lt": "<",
    "micro": "µ",
    "newline": " ",
    "par": " ",
    "slash": "/",
    "textasteriskcentered": "*",
    "textbar": "|",
    "textellipsis": "…",
    "textgreater": ">",
    "textless": "<",
    "textquotedbl": '"',
    "textquotesingle": "'",
    "textunderscore": "_",
    "today": "",
    "vspace": "",
}
MARKUP = re.compile(r"[\\{}$~]|--|``|''")
TOKEN = re.compile(
    r"\\(?:href|cite[a-z]*|(?:eq|c|auto)?ref|label|begin|end)\*?\s*+(?P<about>\{[^{}]*+\})"
    r"""|\\(?:(?P<sign>["'`^~=.])\s*+|(?P<letter>[uvHcdbkrt])(?:\s++|(?=[{\\])))"""
    r"(?:\{\s*+\\?(?P<inner>[^\W\d_])\s*+\}|\\(?P<dotless>[ij])(?![a-zA-Z])\s*+|(?P<bare>[^\W\d_]))"
    r"|\\(?P<name>[a-zA-Z]++)\*?\s*+|\\(?P<escaped>.)"
    r"|(?P<degree>\^\{?\s*+\\circ(?![a-zA-Z])\s*+\}?)"
    r"|(?P<math>\$\$?)|(?P<raised>[_^])|(?P<plain>---?|``|''|(?<=[\w.,;}])~|[{}])",
    re.DOTALL,
)


def _symbols() -> dict[str, str]:
    """What the commands stand for that stand for a text, by name."""
    database = get_default_latex_context_db()
    specs = database.iter_macro_specs(database.categories())
    texts = ((spec.macroname, spec.simplify_repl) for spec in specs)
    # A name is given again by categories that count less.
    found = {name: text for name, text in reversed(list(texts)) if isinstance(text, str)}
    return {name: text for name, text in found.items() if "%" not in text} | MORE_SYMBOLS


SYMBOLS = _symbols()


def to_text(latex: str) -> str:
    r"""The text of LaTeX: `{E}vidence of {\"o}` is `Evidence of ö`, `CO$_2$` is `CO2`.

    Of a command that isn't known the arguments stay, of `\cite` and `\href` the text alone.
    """
    if not MARKUP.search(latex):
        return latex
    # Of dollars without partners, none begins a formula.
    reader = _Reader(has_math=len(re.findall(r"(?<!\\)\$\$?", latex)) % 2 == 0)
    return normalize("NFC", TOKEN.sub(reader.text, latex))


class _Reader:
    """What each token stands for, where it stands: in a formula or not."""

    def __init__(self, *, has_math: bool) -> None:
        self._has_math = has_math
        self._in_math = False

    def text(self, token: re.Match[str]) -> str:
        kind = token.lastgroup
        if kind in {"inner", "dotless", "bare"}:
            return token[kind] + ACCENTS[token["sign"] or token["letter"]]
        if kind == "name":
            return SYMBOLS.get(token["name"], "")
        if kind == "escaped":
            return self._escaped(token["escaped"])
        if kind == "math":
            self._in_math = self._has_math and not self._in_math
            return "" if self._has_math else token[0]
        if kind == "raised":
            return "" if self._in_math else token[0]
        return "°" if kind == "degree" else PLAIN.get(token[0], "")

    def _escaped(self, sign: str) -> str:
        if sign in "()[]":
            self._in_math = sign in "(["
            return ""
        return " " if sign in "\\/" else SYMBOLS.get(sign, sign)
