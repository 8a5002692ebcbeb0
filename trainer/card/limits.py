"""What a model is for and where it fails, in plain words, with its own figures."""

from collections.abc import Sequence

from schemas.evaluation import EvalReport
from schemas.model import FIELDS

DOI = "doi"
PREFIX = "prefix"

USE_OF_DOIS = """\
Finding DOIs whose strings resemble those of linked papers, where nothing but the DOI is known. \
The model is a reference point for models that read more, and a way to fill a collection before \
any metadata is there. It is not meant for recommending papers, for judging whether one belongs \
in a review, or for recognizing duplicates."""

USE_OF_TEXTS = """\
Finding papers that belong with a given one, among papers whose metadata is known: those that \
cite each other, or that a systematic review would include together. The model ranks; it is \
not meant to decide alone what a review leaves out, to judge the worth of a paper, or to \
recognize duplicates."""

DOI_STRINGS = """\
- **A DOI string says almost nothing about what a paper is about.** A DOI is an identifier: its \
first part names the registrant, mostly a publisher, and the rest is how that publisher counts. \
This model reads nothing else. What it can learn is which publishers and journals keep company, \
not which papers do.
{figures}\
- A high similarity mostly means the same publisher, journal or numbering. Two papers on one \
question in different journals look unrelated; two neighbours in one issue look alike.
- Where titles are known, use a model whose templates read them (recipe `title`)."""

TITLES = """\
- **A record needs the metadata that the templates name.** {bare}
- Titles are expected in English: the base model was trained on English text, and so were most of \
the pairs. Other languages were not measured.
- A title is short. Papers with the same words in another sense look alike, and one whose title \
says little is hard to find."""

BARE_REFUSED = """\
A bare DOI is not embedded: the worker dead-letters it as `missing_metadata`."""

BARE_READ = """\
A record without it is read by its DOI string, which says almost nothing about what a paper is \
about (its first part names a publisher, the rest is how that publisher counts); its neighbours \
are then mostly those of the same publisher."""

GENERAL = """\
- **The labels are noisy.** "Not cited" is not "unrelated": many pairs with label 0 would be \
linked by someone. The figures understate a good model, and a low similarity is no evidence that \
two papers have nothing to do with each other.
- The labels came from {families}. Fields that these don't cover were not measured.
- Search figures hold for a corpus of the size given above; a larger one is harder.
- Longer texts than the maximum length above are cut off.
- Its vectors can't be compared with those of another version."""


def intended_use(templates: Sequence[str]) -> str:
    """What a model with these templates is for, as a paragraph of Markdown."""
    return USE_OF_DOIS if reads_only_dois(templates) else USE_OF_TEXTS


def limits(templates: Sequence[str], reports: Sequence[EvalReport]) -> str:
    """Where a model with these templates fails, as a list in Markdown.

    `reports` begins with the model's; that of `prefix` is set beside it where there is one.
    """
    own = DOI_STRINGS.format(figures=_figures(reports))
    if not reads_only_dois(templates):
        bare = BARE_READ if any(_only_doi(template) for template in templates) else BARE_REFUSED
        own = TITLES.format(bare=bare)
    return f"{own}\n{GENERAL.format(families=_families(reports))}"


def reads_only_dois(templates: Sequence[str]) -> bool:
    """Whether no template asks for more than the DOI."""
    return all(_only_doi(template) for template in templates)


def _only_doi(template: str) -> bool:
    return {field for field in FIELDS if f"{{{field}}}" in template} == {DOI}


def _figures(reports: Sequence[EvalReport]) -> str:
    own = reports[0].metric("roc_auc") if reports else None
    if own is None:
        return ""
    said = (
        f"- In figures: of a linked and an unlinked held-out pair, this model gives the linked one "
        f"the higher score {_percent(own.value)} of the time (95 % interval {_percent(own.low)} "
        f"to {_percent(own.high)}; ties count half). Guessing is right 50 % of the time"
    )
    prefix = next((r.metric("roc_auc") for r in reports if r.subject == PREFIX), None)
    if prefix is None:
        return f"{said}.\n"
    return (
        f"{said}; asking only whether both DOIs have the same prefix, {_percent(prefix.value)}.\n"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _families(reports: Sequence[EvalReport]) -> str:
    names = [part.name for report in reports[:1] for part in report.slices]
    families = [f"`{name.removeprefix('source:')}`" for name in names if name.startswith("source:")]
    return ", ".join(families) or "the sources of the pairs"
