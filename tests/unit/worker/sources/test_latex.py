"""LaTeX in bibliographies becomes the text that it would print, and text without LaTeX stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.sources.latex import to_text


@pytest.mark.parametrize(
    ("latex", "expected"),
    [
        ("{E}vidence from {I}ndia and {{ERP}}", "Evidence from India and ERP"),
        (r"\"{o}{\"o}\"o{\"{o}} \"O", "öööö Ö"),
        (r"\'{\i} \'\i{} {\'{\i}} \'i na\"{\i}ve", "í í í í naïve"),
        (r"\c{C}\c c\v{s}\.{z}\H{o}\k{a}\u{g}\r{a}\d{h}\b{h}\={a}\^e\`a\~n", "Ççšżőąğåḥẖāêàñ"),
        (
            r"{\O}ster{\aa}s, {\ss}, Gr\"u\ss e, {\L}{\'o}d{\'z}, \ae{}",
            "Østerås, ß, Grüße, Łódź, æ",
        ),
        (r"R\&D, 5\%, \$5, \#1, a\_b, \{c\}", "R&D, 5%, $5, #1, a_b, {c}"),
        (r"``quoted'' 1--2 --- a~b", "“quoted” 1–2 — a b"),
        (
            r"CO$_2$, x$^{2+}$, $\alpha$-helix, \(y_2\), \textsubscript{2}",
            "CO2, x2+, α-helix, y2, 2",
        ),
        (r"$\mathcal{O}(n^2)$ at 5$^{\circ}$C", "O(n2) at 5°C"),
        (r"{\textless}0.05, $<$5, \textless{}i\textgreater{}E", "<0.05, <5, <i>E"),
        (r"\emph{E. coli} in \textit{vivo}, \foo{bar}", "E. coli in vivo, bar"),
        (r"\href{http://x}{text}\cite{key} \url{http://y}", "text http://y"),
        (r"{\LaTeX} and \TeX{}, \ldots", "LaTeX and TeX, …"),
        (r"soft\-ly 1\,000 a\\b", "soft\xadly 1 000 a b"),
    ],
)
def test_latex_is_read(latex: str, expected: str) -> None:
    assert to_text(latex) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("plain", "", "50% of x & y # z", "from $5 to more", "a_b^c", "C:\\", "(~5%)", "it's"),
        *("p < 0.05", "x'y", "a-b", "\u0141\xf3d\u017a"),
    ],
)
def test_what_is_no_latex_stays(text: str) -> None:
    assert to_text(text) == text


SIGNS = st.sampled_from([*list("\\{}$~`'\"^_-=.%#& \nabciujtH"), "\\href{", "\\alpha", "\\'", "$$"])


@given(st.lists(SIGNS | st.text(max_size=2)).map("".join))
def test_any_text_is_read(text: str) -> None:
    assert len(to_text(text)) <= 20 * len(text)


@pytest.mark.parametrize(
    "unit",
    ["{", "}", "\\", "$", "\\href{", "\\cite", "\\'", "\\c ", "^{\\circ", "~", "--", "\\a", "\\v{"],
)
def test_no_text_takes_long(unit: str) -> None:
    to_text(unit * 10**5)
