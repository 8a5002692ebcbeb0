"""sentence-transformers' own model card: its parts corrected where they don't fit doivec."""

import re
from collections.abc import Sequence

from huggingface_hub import ModelCard

from schemas.document import Document
from schemas.model import VERSION_CHARACTERS, render
from schemas.training import TrainingRecord
from trainer.card.markdown import table

BASE_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
LICENSE = "apache-2.0"
TAG = "doi"
PARENT_OF_ALL = "base"
HOME = "https://huggingface.co/"
# Empty sections that its template leaves to the author, as comments.
PLACEHOLDERS = re.compile(r"^<!--.*?-->\n?", re.MULTILINE | re.DOTALL)
BLANK_LINES = re.compile(r"\n{3,}")
HEAD = re.compile(r"\A.*?(?=^## )", re.MULTILINE | re.DOTALL)
LOCAL_VALUE = re.compile(r"^(- `\w+`: )/.*$", re.MULTILINE)
LOADING = re.compile(r'^# Download from .*\nmodel = SentenceTransformer\(".*"\)$', re.MULTILINE)
LOADED = (
    '# In the directory of this card; elsewhere, give its path\nmodel = SentenceTransformer(".")'
)
# With few training pairs the snippet talks of these; it shall show what the model reads.
WEATHER = ("The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium.")
EXAMPLES = (
    Document(doi="10.1038/s41586-020-2649-2", title="Array programming with NumPy"),
    Document(
        doi="10.1038/s41592-019-0686-2",
        title="SciPy 1.0: fundamental algorithms for scientific computing in Python",
    ),
    Document(doi="10.1109/mcse.2007.55", title="Matplotlib: A 2D Graphics Environment"),
)
LOGS = re.compile(r"^### Training Logs\n.*?(?=^#)", re.MULTILINE | re.DOTALL)
TIME = re.compile(r"^- \*\*Training\*\*: .*$", re.MULTILINE)
VALUES = re.compile(r"^# (tensor\(| +\[).*\n", re.MULTILINE)
PRINTED = "print(similarities)\n"


def correct(stock_card: str, *, record: TrainingRecord, templates: Sequence[str]) -> str:
    """The card with its head, title, details and usage made true for this version.

    The YAML head has the licence and the base model; the snippet loads the directory that it is
    run in; paths of the machine that trained and empty sections are gone.
    """
    card = ModelCard(stock_card)
    text = HEAD.sub(lambda _: _title(record) + "\n\n", card.text.lstrip(), count=1)
    for correction in (_details, _usage, _training, _logs, _tidy):
        text = correction(text, record, templates)
    return f"---\n{_head(card, record)}\n---\n\n{text.strip()}\n"


def insert(text: str, section: str, *, before: str) -> str:
    """The text with `section` before the heading `before`, or at its end where there is none."""
    place = text.find(f"\n{before}\n")
    if place < 0:
        return f"{text.rstrip()}\n\n{section.strip()}\n"
    return f"{text[:place].rstrip()}\n\n{section.strip()}\n{text[place:]}"


def _head(card: ModelCard, record: TrainingRecord) -> str:
    data = card.data
    data["license"] = LICENSE
    data["base_model"] = BASE_MODEL if record.parent == PARENT_OF_ALL else None
    data["eval_results"] = None  # the Trainer's own evaluators', not those of our held-out set
    data["tags"] = list(dict.fromkeys([*(data.get("tags") or ()), TAG]))
    return str(data.to_yaml()).strip()


def _title(record: TrainingRecord) -> str:
    return (
        f"# {record.name}\n\n"
        "A [sentence-transformers](https://www.SBERT.net) model that doivec fine-tuned on labelled "
        f"pairs of DOIs, from {_parent(record)}. It maps a record of a paper to a vector of unit "
        "length; the larger the cosine of two vectors, the more it takes the papers to belong "
        "together. How far that can be trusted is said under Evaluation and Limits."
    )


def _parent(record: TrainingRecord) -> str:
    if record.parent == PARENT_OF_ALL:
        return f"[{BASE_MODEL}]({HOME}{BASE_MODEL})"
    return f"the version `{record.parent[:VERSION_CHARACTERS]}`"


def _details(text: str, record: TrainingRecord, _: Sequence[str]) -> str:
    dataset = f"labelled pairs, dataset `{record.dataset[:VERSION_CHARACTERS]}`"
    facts = {"Base model": _parent(record), "Training Dataset": dataset, "License": LICENSE}
    for name, value in facts.items():
        line = re.compile(rf"^(?:<!-- )?- \*\*{name}:\*\*.*$", re.MULTILINE)
        text = line.sub(f"- **{name}:** {value}", text, count=1)
    return text


def _usage(text: str, _: TrainingRecord, templates: Sequence[str]) -> str:
    shown = ", ".join(f"`{template}`" for template in templates)
    which = "by this template" if len(templates) == 1 else "by the first that applies of these"
    note = f"The model reads texts that are made from a record {which}: {shown}.\n\n"
    text = LOADING.sub(LOADED, text, count=1)
    text = text.replace(PRINTED, f"print(similarities.shape)\n# torch.Size([3, 3])\n{PRINTED}", 1)
    text = _with_examples(text, templates)
    return text.replace("First install the", f"{note}First install the", 1)


def _with_examples(text: str, templates: Sequence[str]) -> str:
    if repr(WEATHER[0]) not in text:
        return text
    for sentence, document in zip(WEATHER, EXAMPLES, strict=True):
        example = render(document, templates) or document.title
        text = text.replace(repr(sentence), repr(example), 1)
    return VALUES.sub("", text)


def _training(text: str, record: TrainingRecord, _: Sequence[str]) -> str:
    named = f"#### Labelled pairs `{record.dataset[:VERSION_CHARACTERS]}`"
    return text.replace("#### Unnamed Dataset", named, 1)


def _logs(text: str, record: TrainingRecord, _: Sequence[str]) -> str:
    # The Trainer's own begin at the last resumption.
    rows = ([f"{p.epoch:.4f}", str(p.step), f"{p.loss:.4f}"] for p in record.log)
    logs = table(("Epoch", "Step", "Training Loss"), rows)
    text = LOGS.sub(lambda _: f"### Training Logs\n\n{logs}\n\n", text, count=1)
    return TIME.sub(f"- **Training**: {record.train_s / 60:.1f} minutes", text, count=1)


def _tidy(text: str, _: TrainingRecord, __: Sequence[str]) -> str:
    text = PLACEHOLDERS.sub("", text)
    text = LOCAL_VALUE.sub(r"\1(a path of the machine that trained)", text)
    return BLANK_LINES.sub("\n\n", text)
