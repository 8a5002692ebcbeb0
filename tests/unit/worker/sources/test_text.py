"""Foreign text is cleaned once: markup goes, what only looks like it stays."""

import json
import re
from collections.abc import Iterator
from typing import Any
from unicodedata import is_normalized

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.paths import DATA
from worker.sources.text import KNOWN, clean

FORMULA = (
    '<mml:math xmlns:mml="http://www.w3.org/1998/Math/MathML">\n <mml:mi>N</mml:mi>'
    "\n <mml:mo>=</mml:mo>\n <mml:mn>88</mml:mn>\n</mml:math>"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CO<sub>2</sub> and <i>E. coli</i>", "CO2 and E. coli"),
        ("Java<sup>TM</sup>, <SPAN class='x'>T<inf>2</inf></SPAN>", "JavaTM, T2"),
        ("<p>One</p><p>two<br/>three</p>", "One two three"),
        ("<jats:sec><jats:title>Aims</jats:title><jats:p>We", "Aims We"),
        ("a<ns0:unknown lang='en'>b</ns0:unknown>", "ab"),
        (f"in the{FORMULA}nucleus", "in the N=88 nucleus"),
        (
            "<jats:alternatives><jats:tex-math>$$x_2$$</jats:tex-math>"
            "<mml:math><mml:mi>x</mml:mi><mml:mn>2</mml:mn></mml:math></jats:alternatives>",
            "x2",
        ),
        ("for <tex-math>$x_2$</tex-math>", "for $x_2$"),
        ("fish,\n      <i>Eleutheronema</i>\n   and its", "fish, Eleutheronema and its"),
        ("Review for &lt;scp&gt;GenCo&lt;/scp&gt; 's", "Review for GenCo 's"),
        ("a &amp;lt;i&amp;gt;b&amp;lt;/i&amp;gt; &amp;amp; c", "a b & c"),
        ("12 &plusmn; 3&nbsp;&#181;m &#x1F600;", "12 ± 3 µm 😀"),
        ("R&D at AT&T; &unknown; &copy", "R&D at AT&T; &unknown; &copy"),
        ("a<!-- no <b> -->b <![CDATA[x < y]]> <?pi x?>z<!DOCTYPE html>", "ab x < y z"),
        ("an e\u0301tude, soft\u00adly \ufeff", "an étude, softly"),
        ("a\0b\ud800c\x1b[31md\x85e\u2028f", "a b c [31md e f"),
        ("&#0;&#xD800;&#55357;", "\ufffd\ufffd\ufffd"),
        ("\u037e &lt\u037e", "; <"),
    ],
)
def test_markup_goes(text: str, expected: str) -> None:
    assert clean(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("p < 0.05", "p<0.05 and q>0.1", "a<b and c>d", "<5 years", "x <y> z", "1<2>3", "<"),
        *("<your name>", "a <!-- b", "<![x", "a->b<-c", "<i", "2 </ 3", "Aged <= 20 Years", "&;"),
    ],
)
def test_what_only_looks_like_markup_stays(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<jats:title>Abstract</jats:title>\n <jats:p>we show", "we show"),
        ("<jats:sec><title>ABSTRACT</title><p>we show", "we show"),
        ("&lt;h2&gt;Abstract&lt;/h2&gt;&lt;p&gt;we show", "we show"),
        ("Abstract: we show", "we show"),
        ("Abstract. Abstract\nABSTRACT The", "The"),
        ("Abstract Biscuits were", "Biscuits were"),
        ("Abstract 2019-nCoV is", "2019-nCoV is"),
        ("abstract — we show", "we show"),
        ("Abstract", ""),
        ("Abstract ...", "Abstract ..."),
        ("Abstract interpretation is", "Abstract interpretation is"),
        ("Abstracts of papers", "Abstracts of papers"),
        ("ABSTRACTION", "ABSTRACTION"),
        ("This is Abstract: art", "This is Abstract: art"),
    ],
)
def test_an_abstract_loses_its_heading(text: str, expected: str) -> None:
    assert clean(text, is_abstract=True) == expected


def test_a_title_keeps_the_word() -> None:
    assert clean("Abstract: the art of Kandinsky") == "Abstract: the art of Kandinsky"


PIECES = st.sampled_from(
    [
        *("<", ">", "/", "&", ";", "#", "lt", "gt", "amp", "<i>", "</i>", "<p>", "<m:math>", "<mi"),
        *("<!--", "-->", "<![CDATA[", "]]>", "<?", "?>", "<annotation>", "<tex-math>", '"', "'"),
        *(" ", "\n", "=", ":", "-", "abstract", "Abstract", "ABSTRACT", "The", "\0", "\ud800", "x"),
        *("&amp;", "&#38;", "&lt;", "&#60;", "\u0301", "\u0316", "\u0344", "\u0338", "\u037e", "é"),
    ]
)
SOUP = st.lists(PIECES | st.text(max_size=3), max_size=40).map("".join)


@given(SOUP, st.booleans())
def test_what_is_clean_stays_as_it_is(text: str, is_abstract: bool) -> None:
    found = clean(text, is_abstract=is_abstract)
    assert clean(found, is_abstract=is_abstract) == found
    assert is_normalized("NFC", found)
    assert found == " ".join(found.split())
    assert "\0" not in found
    found.encode()  # or it raises


@given(st.lists(st.sampled_from(sorted(KNOWN)), max_size=8), st.text("abc ", max_size=9))
def test_no_known_tag_gets_through(names: list[str], text: str) -> None:
    marked = "".join(f"<{name}>{text}</{name}>" for name in names)
    assert "<" not in clean(marked)


@pytest.mark.parametrize(
    "text",
    [
        *("<" * 10**6, "<i>" * 10**5, "<!--" * 10**5, "<!-- -" * 10**5, "<![CDATA[" * 10**5),
        *("&" * 10**6, "&amp;" * 10**5 + "lt;", "&amp;lt;" * 10**5, "&#38;#38;" * 10**5),
        *("<" * 10**5 + "<i>" + "i>" * 10**5, "<a b='<a b=\"" * 10**5, "<a " * 10**5, "<?" * 10**5),
        *("<tex-math>" * 10**5, "<annotation>" * 10**5, "<m:math>" * 10**5, "Abstract: " * 10**5),
        *(
            "e" + "\u0301\u0316" * 10**5,
            "e" + "\u0316\u0301" * 10**5,
            " " * 10**6 + "<",
            "…" * 10**6,
        ),
    ],
)
def test_no_text_takes_long(text: str) -> None:  # to try again at each sign would take an hour
    found = clean(text, is_abstract=True)
    assert clean(found, is_abstract=True) == found


def texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """The titles and abstracts of recorded answers, however deep."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from texts(part, f"{path}/{name}")
    elif isinstance(value, list):
        for part in value:
            yield from texts(part, path)
    elif isinstance(value, str) and path.endswith(("title", "abstract", "/description")):
        yield path, value


@pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")
def test_recorded_titles_and_abstracts() -> None:
    found = {}
    for path in sorted((DATA / "apis").glob("*/*.json")):
        for name, text in texts(json.loads(path.read_text())):
            found[text] = clean(text, is_abstract="abstract" in name)
    assert len(found) > 90
    for text in found.values():
        assert not re.search(r"<\S|&\w+;", text), text
        assert not text.startswith("Abstract")
        assert "  " not in text
    cleaned = set(found.values())
    title = "Persistence of collective behavior at high spin in the N=88 nucleus Tb153"
    assert {title, "Progress in Colloid & Polymer Science"} <= cleaned
    assert any("MOPSO and NSGA‐II optimizers" in text for text in cleaned)
    assert any("fish, Eleutheronema tetradactylum, and its diet" in text for text in cleaned)
    assert any(text.startswith("Over the past 30 years") for text in cleaned)
    assert any("spaces Whρp(ω) related to" in text for text in cleaned)
