"""What follows a DOI's prefix in a cell: what is cut from it, and what is refused for it."""

import re
from collections.abc import Callable
from functools import partial
from urllib.parse import unquote

from schemas.doi_text import BOUNDARY, MARKUP, REGISTRANT, Place, fold, refuse, refuse_control


def read(place: Place) -> str:
    """The DOI that begins at a place of a cell.

    Raises `InvalidDoi` where it can't be told with certainty where it ends, or what it is.
    """
    prefix = _PREFIX.match(place.text)
    if not prefix:
        refuse("no registrant prefix 10.NNNN/")
    number, suffix = prefix[1], _cut_closed(place.text[prefix.end() :], place.before)
    for step in _ADDRESS_CUTS if place.in_address else _TEXT_CUTS:
        suffix = step(suffix)
    _refuse_doubtful_dots(suffix, number)
    for step in _ADDRESS_ENDS if place.in_address else _TEXT_ENDS:
        suffix = step(suffix)
    doi = f"10.{number}/{suffix}"
    return _OF_OXFORD.sub(r"\1", doi) if place.in_address else doi


Step = Callable[[str], str]


def _dropping(pattern: str) -> Step:
    return partial(re.compile(pattern).sub, "")


# One stray dot or space is let pass: 10..1111/..., 10. 1136/..., 10.3390 / ...
_PREFIX = re.compile(rf"10\.[. ]?({REGISTRANT}) ?(?:/|%2f) ?")
# https://academic.oup.com/bioinformatics/article/doi/10.1093/bioinformatics/btz123/5372340
_OF_OXFORD = re.compile(r"^(10\.1093/[a-z]+/[a-z]+[0-9]+)/[0-9]{5,}$")
_DIGIT = re.compile("[0-9]")
_LETTER_OR_DIGIT = re.compile("[0-9a-z]")

# --- What ends a DOI ---

_OPENED_BY = {")": "(", "]": "[", "}": "{", ">": "<"}
_QUOTE = re.compile("[\"'`](?=[^\"'`\\s]*$)")
# 10.1080/13691066.2014.925305?src=recsys; 10.1038/nphys1170#page=2; 10.1177/1354068809102245#;
# but not 10.1002/...;2-#, nor 10.17323/1996-7845-2017-04-??
_CUT_QUERY = _dropping(r"\?[a-z_.]+=.*|;[a-z_]+=.*|#[a-z:~_.-]+=.*|(?<!;[0-9]-)#$|(?<![-?])\?+$")
# https://www.tandfonline.com/doi/full/10.1080/10668926.2019.1610672?scroll=top
_CUT_ADDRESS_QUERY = _dropping(r"[?&].*|;[a-z_]+=.*|(?<!;[0-9]-)#.*")
# What stands behind DOIs in lists of references: 10.1038/nphys1170CrossRefGoogle Scholar
LINK_WORDS = ("crossref", "google", "scholar", "pubmed", "epub", "published", "abstract")
_LINK_WORD = "|".join(LINK_WORDS)
GLUED_WORD = re.compile("(?:accessed|retrieved).*")  # 10.1056/nejmoa1406470accessed
_CUT_APPENDED = _dropping(
    r"(?<!\.)\.{4,}[^.].*"  # 10.1038/25931...................395137(1998)
    r"|[ .]?pmc?id:.*"  # 10.1038/nbt.2199.pmid:22565958
    r"|\.ecollection(?![a-z0-9._-]).*"  # 10.7717/peerj-cs.804.eCollection 2021.
    r"|\(epub.*"  # 10.1111/dme.13431(epubaheadofprint)
    rf"|[(\[_-]?{GLUED_WORD.pattern}"  # 10.2307/844838>accessed21
    r"|\[(?:doi|pii|cross ?ref|pubmed|medline|google scholar)\].*"  # 10.1002/pds.1348[doi].eng
    r"|\((?:19|20)[0-9]{2}$"  # 10.1007/s11219-016-9353-3(2018
    # 10.1177/1069072716653376journals.sagepub.com/home/jca
    r"|(?<=[0-9])[a-z]+(?:\.[a-z-]+)*\.(?:com|org|net|edu|gov)(?![a-z0-9._-]).*"
)


def _cut_closed(suffix: str, before: str) -> str:
    # [10.1000/x](https://doi.org/10.1000/x), \href{...}{10.1000/x}, <a href="...">: what was
    # opened before a DOI ends it; what a tag ended ends it too.
    suffix = suffix.partition(BOUNDARY)[0]
    if quote := _QUOTE.search(before):
        suffix = suffix.partition(quote[0])[0]
    for closing, opening in _OPENED_BY.items():
        if before.count(opening) > before.count(closing):
            suffix = suffix[: _unopened(suffix, opening, closing)]
    return suffix


def _unopened(suffix: str, opening: str, closing: str) -> int | None:
    """Where the first bracket stands that closes none of the suffix's own, if one does."""
    depth = 0
    for bracket in re.finditer(f"[{re.escape(opening + closing)}]", suffix):
        depth += 1 if bracket[0] == opening else -1
        if depth < 0:
            return bracket.start()
    return None


def _decode(suffix: str) -> str:
    # 10.1016/s0022-510x%2896%2900278-x; but Web of Science holds %3c in DOIs that are not escaped
    if "%3c" in suffix or "%3e" in suffix:
        refuse("an escaped angle bracket outside a web address")
    return _decode_address(suffix)


def _decode_address(suffix: str) -> str:
    # https://doi.org/10.1002/(SICI)1097-4571(1998)49:1%3C49::AID-ASI7%3E3.0.CO;2-6
    if "%" not in suffix:
        return suffix
    try:
        return fold(refuse_control(unquote(suffix, errors="strict")))
    except UnicodeDecodeError:
        refuse("percent escapes that are not UTF-8")


# --- Gaps ---

_YEAR_OR_PAGE = re.compile("[0-9]{1,4}[.,;]?")
# The first and the last page of a paper: 10.1001/jama.251.7.878,883
_PAGE_PAIR = re.compile(r"(?<![0-9a-z])([0-9]{1,6}),([0-9]{1,6})$")
_MOST_PAGES = 100
_YEARS = range(1900, 2100)
_OF_PLOS = re.compile(r"journal\.p[a-z]{3}\.[0-9]{7}")  # never fewer: journal.pone.024 0808


def _close_gaps(suffix: str) -> str:
    # 10.1136/ bmjopen- 2020- 038952 is one DOI; 10.1371/journal.pone.0196324. eCollection 2018
    # ends at the gap; 10.5539/ijbm.v9n10 p149 may be either.
    done, *tokens = suffix.split(" ")
    tokens.reverse()
    while tokens and _goes_on(done, tokens[-1]):
        done += tokens.pop()
    if tokens and not _ends(done, tokens):
        refuse("broken by whitespace: it can't be told where it ends")
    in_sentence = done.endswith(".") and any(map(_LETTER_OR_DIGIT.search, tokens))
    return done[:-1] if in_sentence and not done.endswith("..") else done


def _goes_on(done: str, token: str) -> bool:
    if done.endswith("-") and _DIGIT.match(token):
        return True
    if _OF_PLOS.fullmatch(done[:20] + token):  # not all of it: it grows by a token at a time
        return True
    if _DIGIT.search(done) or not _DIGIT.search(token):
        return False
    return token[0] in ".-" or (done[-1:] in {".", "-"} and not _YEAR_OR_PAGE.fullmatch(token))


def _ends(done: str, tokens: list[str]) -> bool:
    token = tokens[-1]  # the next one: they are in reverse order
    if _are_pages(done + token):
        return False
    if done.endswith((",", ";", "|")) or not any(map(_LETTER_OR_DIGIT.search, tokens)):
        return True
    if done.endswith(("/", "-", "_", ":", "(", "<", "[")) or not _DIGIT.search(done):
        return False
    initial = done.endswith(".") and len(token) == 1  # 10.1111/j.1749-6632.1999.tb08633. x
    return not (_DIGIT.search(token) or token[0] in "-./_:" or initial)


def _are_pages(text: str) -> bool:
    if not (pair := _PAGE_PAIR.search(text)):
        return False
    first, last = int(pair[1]), int(pair[2])
    return 0 < last - first < _MOST_PAGES and not (first in _YEARS and last in _YEARS)


# --- Doubled signs, and the last dot ---

_AT_END = f".,;:!'\"*|/`)]}}>\u00b7\u2022\u2019\u201d\u201c\u00bb{MARKUP}"
# 10.1007/978-3-642-22984-8__8: an ISBN and the number of a chapter have one form.
_CHAPTER = re.compile(r"(978(?:-[0-9]+){3}-[0-9x])__([0-9]+)")
_DOUBLED = re.compile(r"[0-9a-z](?:\.\.+|__+)[0-9a-z]")
# The lowest registrants whose doubled signs, and whose last dot, may be part of a DOI.
_FIRST_WITH_EMPTY_FIELDS, _FIRST_OF_FIVE_DIGITS = 4000, 10000


def _mend_chapter(suffix: str) -> str:
    chapter = _CHAPTER.fullmatch(suffix)
    return f"{chapter[1]}_{chapter[2]}" if chapter else suffix


def _refuse_doubtful_dots(suffix: str, number: str) -> None:
    """Refuse signs that are damage in the DOIs of one registrant and part of those of another.

    DOIs that are made of fields (journal, year, volume, issue, page) have two dots where one is
    empty, 10.15811/jkl.2016..77.010, and end in one where the last is, 10.21637/gt.2011.2.05. with
    its dot; docs/decisions.md says how the registrants are told.
    """
    registrant = int(number.partition(".")[0])
    if registrant < _FIRST_WITH_EMPTY_FIELDS and _DOUBLED.search(suffix):
        refuse("a doubled sign: it can't be told if both are part of it")
    core = suffix.rstrip(_AT_END)
    dotted = suffix.startswith(".", len(core)) and not suffix.endswith("...")
    if registrant >= _FIRST_OF_FIVE_DIGITS and dotted and core.count(".") > 1:
        refuse("ends in a dot that may be part of it")


# --- What is done to the end ---

# 10.48550/arXiv.1706.03762v5, https://www.biorxiv.org/content/10.1101/2020.04.12.20062687v1.full:
# these have a DOI for all their versions, others one for each (10.7287/peerj.preprints.1900v1).
_VERSION = (
    r"(?:(?<=\.[0-9]{6})|(?<=\.[0-9]{8})|(?<=^[0-9]{6})|(?<=^arxiv\.[0-9]{4}\.[0-9]{4})"
    r"|(?<=^arxiv\.[0-9]{4}\.[0-9]{5}))v[0-9]{1,2}"
)
_TEXT_VIEWS = "full|fulltext|full-text|pdf|epdf|html|abstract|meta"
_FOLDERS = "suppl_file|supplementary-material|mediaobjects|assets?"
# The pages that publishers have of a paper, and the folders of its files.
VIEWS = (
    f"{_TEXT_VIEWS}|epub|references|figures|tables|citedby|metrics|related|summary|xml|download"
    f"|{_FOLDERS}"
)
_VIEW = re.compile(rf"/(?:{_FOLDERS})(?:/.*)?$|(?:/(?:{VIEWS})){{1,2}}$")
_TEXT_VIEW = re.compile(rf"(?:/(?:{_TEXT_VIEWS}))+")
# https://pubs.acs.org/doi/suppl/10.1021/ja01662a003/suppl_file/ja01662a003_si_001.pdf
_CUT_VIEW_OF_ADDRESS = _dropping(_VIEW.pattern)
_CUT_VERSION = _dropping(rf"{_VERSION}$")
_CUT_FILE = _dropping(
    rf"{_VERSION}(?:\.(?:full|abstract|article-metrics|supplementary-material))?(?:-text|\.pdf)?$"
    r"|\.(?:pdf|html?)$"
)


def _trim(suffix: str) -> str:
    # 10.2196/12286. loses its dot, (doi:10.1093/nar/gku542) its bracket; but not
    # 10.4335/20.4.1083-1111(2022).
    if suffix.endswith("..."):
        refuse("cut off: it ends in dots")
    core = suffix.rstrip(_AT_END)
    unclosed = {opening: core.count(opening) - core.count(c) for c, opening in _OPENED_BY.items()}
    keep = len(core)
    for end, character in enumerate(suffix[len(core) :], len(core) + 1):
        opening = _OPENED_BY.get(character, "")
        if unclosed.get(opening, 0) > 0:
            unclosed[opening] -= 1
            keep = end
    return suffix[:keep]


def _cut_view(suffix: str) -> str:
    # 10.3389/fmars.2022.1037358/full, 10.1088/1361-6463/aacf4c/meta; but
    # 10.17658/issn.2058-5462/issue-18/sedwards/abstract may be a DOI as it stands.
    if not (view := _VIEW.search(suffix)):
        return suffix
    core = suffix[: view.start()]
    if not (_TEXT_VIEW.fullmatch(view[0]) and _DIGIT.search(core.rpartition("/")[2])):
        refuse(f"ends in {view[0]}, which may be part of it")
    return core


# --- What is refused ---

_REFUSED = [
    (re.compile(pattern), reason)
    for pattern, reason in (
        (MARKUP, "markup inside it"),
        # Quotes, backslashes, bars: in a million DOIs none, in a cell the sign of something else.
        (r"[^!#-\[\]-_a-{}~]", "holds {!a}, which DOIs don't"),
        (r"(?<![0-9]),|,(?![0-9])", "a comma that isn't between two digits"),
        # 10.1577/1548-8659(1998)127<0192:riodai>2.0.co;2
        (r"<(?![^<>]*:)(?![0-9]\.[0-9]\.(?:co|tx))", "holds '<' outside a SICI"),
        (r">(?![0-9]\.[0-9]\.(?:co|tx))", "holds '>' outside a SICI"),
        (r"[?&][a-z_.]+=|[?#][a-z]|&$", "the query or fragment of an address follows"),
        # 10.1038/nphys1170;Measured is a line of a table. SICIs have semicolons, and of a million
        # other DOIs three, with colons: 10.1076/1380-3611(200003)6:1;1-i;ft083.
        (r"^[^:]*(?<!\.co)(?<!\.tx);[^:]*$", "a semicolon that need not be part of it"),
        (
            rf"[0-9](?:{_LINK_WORD})(?:.*(?:{_LINK_WORD}))?$",
            "a word follows that need not be part of it",
        ),
        (r"\.(?:pdf|html?)$", "ends in the name of a file that need not be part of it"),
        (r"[0-9a-z]10\.[0-9]{4,9}/", "two DOIs run together"),
    )
]
# The two forms in which a year in brackets is the DOI's own: 10.4335/20.4.1083-1111(2022), and
# the first page in 10.1061/(asce)0733-9496(2008)134:4(337). Not in 10.1111/bph.14053(2017).
_YEAR = re.compile(r"\((?:19|20)[0-9]{2}\)$")
_OWN_YEAR = re.compile(r"(?:\.[0-9]+-[0-9]+|:[0-9]+)\([0-9]{4}\)$")
# 10.1038/nphys1170,2008 is a line of a table, 10.5675/hywa_2013,6_2 a DOI.
_NUMBER_AFTER_COMMA = re.compile(r",[0-9.]+$")


def _check(suffix: str) -> str:
    if not suffix:
        refuse("nothing after the slash")
    for pattern, reason in _REFUSED:
        if found := pattern.search(suffix):
            refuse(reason.format(found[0]))
    if _YEAR.search(suffix) and not _OWN_YEAR.search(suffix):
        refuse("ends in a year in brackets that need not be part of it")
    if _NUMBER_AFTER_COMMA.search(suffix) and not _are_pages(suffix):
        refuse("ends in a number after a comma that need not be part of it")
    for closing, opening in _OPENED_BY.items():
        if closing in suffix and _unopened(suffix, opening, closing) is not None:
            refuse("a bracket closes that none opened")
    return suffix


_TEXT_CUTS: tuple[Step, ...] = (_CUT_QUERY, _decode, _CUT_APPENDED, _close_gaps, _mend_chapter)
_TEXT_ENDS: tuple[Step, ...] = (_trim, _cut_view, _CUT_VERSION, _check)
_ADDRESS_CUTS: tuple[Step, ...] = (_CUT_ADDRESS_QUERY, _decode_address, *_TEXT_CUTS[2:])
_ADDRESS_ENDS: tuple[Step, ...] = (_trim, _CUT_VIEW_OF_ADDRESS, _CUT_FILE, _check)
