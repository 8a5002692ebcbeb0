import ast
import contextlib
import io
import re
from datetime import UTC, datetime
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from datasets import Dataset
from huggingface_hub import ModelCard
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss
from sklearn.metrics import precision_recall_curve, roc_curve

from schemas.evaluation import Estimate, EvalReport, Slice
from schemas.training import LossPoint, PairCounts, TrainingRecord
from tests.support.tiny_model import make_tiny_model
from trainer.card.limits import limits
from trainer.card.plots import curves, ndcg_by_slice, score_distributions, training_loss
from trainer.card.report import compose, evaluation_table, slice_table, write_card
from trainer.card.timeline import timeline
from trainer.history import Reign

VERSION = "9a" * 32
DOIS = [
    "10.1038/s41586-020-2649-2",
    "10.1002/(sici)1097-4571(199806)49:8<693::aid-asi4>3.0.co;2-o",
    "10.1038/s41592-019-0686-2",
    "10.1109/mcse.2007.55",
]
TITLES = [
    "Array programming with NumPy",
    "SciPy 1.0: fundamental algorithms for scientific computing in Python",
    "Matplotlib: A 2D Graphics Environment",
    'A title\'s "odd" characters | in <b>tables</b> and `code`',
]
SECTIONS = """\
## Model Details
### Full Model Architecture
## Usage
## Intended Use
## Evaluation
### nDCG@10 by slice
### ROC AUC by slice
## Limits
## Training Details
### Training Dataset
### Training Hyperparameters
### Training Logs
### Framework Versions
## Lineage
### Recipe
### Packages
## Citation
""".splitlines()
PLOTS = {
    "training_loss.png",
    "score_distributions.png",
    "roc_and_precision_recall.png",
    "ndcg_by_slice.png",
}
WEATHER_SNIPPET = """\
## Usage

```python
sentences = [
    'The weather is lovely today.',
    "It's so sunny outside!",
    'He drove to the stadium.',
]
print(similarities)
# tensor([[1.0000, 0.6660],
#         [0.6660, 1.0000]])
```
"""
LARGEST_PNG_BYTES = 80_000


class Trained(NamedTuple):
    folder: Path
    card: str
    templates: tuple[str, ...]


@pytest.fixture(
    scope="module",
    params=[(("{doi}",), DOIS), (("{title}. {abstract}", "{title}"), TITLES)],
    ids=["dois", "titles"],
)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A tiny model after two steps of the stock Trainer, and the card that it wrote."""
    templates, texts = request.param
    folder = tmp_path_factory.mktemp("trained")
    source = make_tiny_model(folder / "source", dimension=384, layers=1)
    model = SentenceTransformer(str(source), device="cpu", local_files_only=True)
    firsts, seconds = zip(*permutations(texts, 2), strict=True)
    labels = [float(number % 3 > 0) for number in range(len(firsts))]
    pairs = {"sentence_0": firsts, "sentence_1": seconds, "label": labels}
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder / "run"),
        max_steps=2,
        logging_steps=1,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_dict(pairs),
        loss=CosineSimilarityLoss(model),
    ).train()
    model.save_pretrained(str(folder / "saved"))
    return Trained(folder / "saved", (folder / "saved" / "README.md").read_text(), templates)


def record(**changes: Any) -> TrainingRecord:
    known: dict[str, Any] = {
        "name": "tiny",
        "recipe": {"templates": ("{doi}",), "loss": "cosine", "arguments": {"seed": 42}},
        "parent": "base",
        "dataset": "ab" * 32,
        "shards": ("12" * 32, "56" * 32),
        "metadata": "34" * 32,
        "held_out": "cd" * 32,
        "pairs": PairCounts(
            trained=39408, positives=33142, held_out_group=7, held_out_doi=12, unread=3
        ),
        "code": ("ef" * 32,),
        "packages": {"torch": "2.13.0"},
        "device": "cpu",
        "started_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "train_s": 4212.3,
        "steps": 6160,
        "log": (LossPoint(step=1, epoch=0.5, loss=0.3), LossPoint(step=2, epoch=1, loss=0.2)),
    }
    return TrainingRecord(**{**known, **changes})


def estimate(value: float, margin: float = 0.01) -> Estimate:
    return Estimate(value=value, low=value - margin, high=value + margin)


def report(subject: str, *, auc: float, ndcg: float) -> EvalReport:
    pair_metrics = {"roc_auc": estimate(auc)}
    parts = {
        "all": {**pair_metrics, "ndcg@10": estimate(ndcg)},
        "source:reviews": {**pair_metrics, "ndcg@10": estimate(ndcg)},
        "negatives:journal": pair_metrics,
    }
    sizes = {"pairs": 900, "positives": 600, "groups": 40, "queries": 120}
    return EvalReport(
        subject=subject,
        name=subject,
        held_out="cd" * 32,
        pairs=1000,
        unread=100,
        seen=3,
        corpus=50000,
        slices=tuple(Slice(name=n, metrics=m, **sizes) for n, m in parts.items()),
    )


REPORTS = (
    report("tiny", auc=0.538, ndcg=0.25),
    report("base", auc=0.519, ndcg=0.35),
    report("prefix", auc=0.432, ndcg=0.05),
)


def scored(seed: int = 0, pairs: int = 2000) -> tuple[dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (rng.random(pairs) < 0.7).astype(int)
    tiny = rng.normal(0.4 + 0.1 * labels, 0.13).astype(np.float32)
    tiny[:100] = np.nan
    return {"tiny": tiny, "base": rng.random(pairs), "prefix": np.round(rng.random(pairs))}, labels


@pytest.fixture(scope="module")
def folder(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the card of the tiny model and its plots, written twice."""
    folder = tmp_path_factory.mktemp("card")
    scores, labels = scored()
    for _ in range(2):
        write_card(
            folder,
            stock_card=trained.card,
            version=VERSION,
            templates=trained.templates,
            record=record_of(trained),
            reports=REPORTS,
            scores=scores,
            labels=labels,
        )
    return folder


@pytest.fixture(scope="module")
def card(folder: Path) -> str:
    return (folder / "README.md").read_text("utf-8")


def record_of(trained: Trained, **changes: Any) -> TrainingRecord:
    return record(recipe={**record().recipe, "templates": trained.templates}, **changes)


def composed(stock_card: str, known: TrainingRecord) -> str:
    return compose(
        stock_card,
        version=VERSION,
        templates=known.recipe["templates"],
        record=known,
        reports=REPORTS,
        plots=(),
    )


def test_a_card_has_all_sections_in_order(card: str) -> None:
    lines = card.splitlines()
    assert [line for line in lines if line in SECTIONS] == SECTIONS


def test_the_snippet_of_a_card_gives_what_it_says(trained: Trained, card: str) -> None:
    snippet = re.search(r"```python\n(.*?)\n```\n", card, re.DOTALL)
    assert snippet
    names: dict[str, Any] = {}
    printed = io.StringIO()
    with contextlib.chdir(trained.folder), contextlib.redirect_stdout(printed):
        exec(snippet[1], names)  # noqa: S102 - what the card tells its readers to run
    assert names["embeddings"].shape == (3, 384)
    assert "(3, 384)\ntorch.Size([3, 3])\ntensor" in printed.getvalue()
    assert "# [3, 384]" in snippet[1]
    said = re.search(r"# tensor\((.*)\)$", snippet[1], re.DOTALL)
    assert said
    values = np.array(ast.literal_eval(said[1].replace("#", "")))
    np.testing.assert_allclose(names["similarities"].numpy(), values, atol=1e-3)
    assert set(names["sentences"]) <= {*DOIS, *TITLES}


def test_the_head_says_licence_base_and_tags(card: str) -> None:
    data = ModelCard(card).data.to_dict()
    assert data["license"] == "apache-2.0"
    assert data["base_model"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert {"doi", "sentence-transformers"} <= set(data["tags"])
    assert "model-index" not in data


def test_a_model_of_another_parent_names_it(trained: Trained) -> None:
    card = composed(trained.card, record_of(trained, parent="77" * 32))
    assert "base_model" not in ModelCard(card).data.to_dict()
    assert "- **Base model:** the version `7777777777777777`" in card


def test_a_card_says_nothing_of_the_machine_s_paths(trained: Trained, tmp_path: Path) -> None:
    stock = trained.card.replace(
        "`resume_from_checkpoint`: None", f"`resume_from_checkpoint`: {tmp_path}/run/5"
    )
    assert str(tmp_path) in stock
    recipe = {"templates": ["{doi}"], "cache": f"{tmp_path}/cache", "run": {"out": tmp_path}}
    card = composed(stock, record(recipe=recipe))
    assert str(tmp_path) not in card
    assert str(trained.folder.parent) not in card
    assert "| `cache` | `.../cache` |" in card
    assert "<!--" not in card


def test_the_lineage_has_all_of_the_record(card: str) -> None:
    known = record()
    for value in (VERSION, known.dataset, known.metadata, known.held_out, *known.code):
        assert f"`{value}`" in card
    for said in ("39,408, 33,142 of them", "7 pairs", "12 pairs", "6,160 optimizer", "4,212.3 s"):
        assert said in card
    assert "| `arguments.seed` | `42` |" in card
    assert "| torch | 2.13.0 |" in card
    assert "`1212121212121212`, `5656565656565656`" in card


def test_the_training_log_is_that_of_the_record(card: str) -> None:
    logs = card.partition("### Training Logs")[2].partition("\n#")[0]
    rows = [line.split(" | ") for line in logs.splitlines() if line[2:3].isdigit()]
    found = [(int(step), float(loss.removesuffix(" |"))) for _, step, loss in rows]
    assert found == [(point.step, round(point.loss, 4)) for point in record().log]


def test_what_was_left_out_is_said_of_the_own_held_out_set_only(trained: Trained) -> None:
    said = "Of the training pairs, 7 of a held-out group and 12 that touch a held-out DOI"
    assert said in composed(trained.card, record_of(trained))
    assert said not in composed(trained.card, record_of(trained, held_out="00" * 32))


def test_a_card_says_where_the_model_is_worse(card: str) -> None:
    assert "- nDCG@10: **worse** than base; **better** than prefix." in card
    assert "- ROC AUC: not clearly apart from base; **better** than prefix." in card
    assert "120 queries searched 50,000 documents" in card


def test_the_limits_of_a_doi_model_have_its_own_figures() -> None:
    said = limits(["{doi}"], REPORTS)
    assert "A DOI string says almost nothing about what a paper is about" in said
    assert "53.8 % of the time (95 % interval 52.8 % to 54.8 %" in said
    assert "same prefix, 43.2 %." in said
    assert "In figures" not in limits(["{doi}"], [])


def test_the_limits_of_a_title_model_say_what_becomes_of_a_bare_doi() -> None:
    assert "missing_metadata" in limits(["{title}"], REPORTS)
    fallback = limits(["{title}", "{doi}"], REPORTS)
    assert "missing_metadata" not in fallback
    assert "read by its DOI string" in fallback
    assert "The labels came from `reviews`." in fallback


def test_a_card_without_an_evaluation_says_so(trained: Trained, tmp_path: Path) -> None:
    write_card(
        tmp_path,
        stock_card=trained.card,
        version=VERSION,
        templates=trained.templates,
        record=record_of(trained),
        reports=(),
        scores={},
        labels=[],
    )
    assert "This version was not evaluated" in (tmp_path / "README.md").read_text("utf-8")
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"training_loss.png"}


def test_a_card_shows_its_plots_and_leaves_nothing_else(folder: Path, card: str) -> None:
    assert set(re.findall(r"!\[[^\]]+\]\(plots/([^)]+)\)", card)) == PLOTS
    assert {path.name for path in folder.iterdir()} == {"README.md", "plots"}
    assert {path.name for path in (folder / "plots").iterdir()} == PLOTS
    for path in (folder / "plots").iterdir():
        height, width, _ = imread(path).shape
        assert path.stat().st_size < LARGEST_PNG_BYTES
        assert 200 < height < width < 1000


def test_a_stock_card_of_another_shape_gets_the_sections_too() -> None:
    card = composed("# Bare\n\ntext\n", record())
    assert all(f"\n{line}\n" in card for line in SECTIONS if line[3:] in {"Limits", "Lineage"})


@pytest.mark.parametrize("templates", [("{doi}",), ("{title}",)])
def test_a_snippet_about_the_weather_gets_real_texts(templates: tuple[str, ...]) -> None:
    stock = f"# Stock\n\n{WEATHER_SNIPPET}"
    card = composed(stock, record(recipe={"templates": templates}))
    found = re.search(r"sentences = (\[.*?\n\])", card, re.DOTALL)
    assert found
    texts = ast.literal_eval(found[1])
    assert len(set(texts)) == 3
    assert all(text.startswith("10.") == (templates == ("{doi}",)) for text in texts)
    assert "weather" not in card
    assert "0.66" not in card, "these were the weather's similarities"


def test_tables_leave_out_what_nobody_has_and_escape_names() -> None:
    odd = report("a|b", auc=float("nan"), ndcg=0.25)
    lines = evaluation_table([REPORTS[0], odd]).splitlines()
    assert lines[0] == "| model | pairs | nDCG@10 | ROC AUC |"
    assert lines[2] == "| tiny | 900 | 0.250 (0.240–0.260) | 0.538 (0.528–0.548) |"
    assert lines[3] == "| a\\|b | 900 | 0.250 (0.240–0.260) | – |"
    assert len(slice_table(REPORTS, "ndcg@10").splitlines()) == 2 + 2
    assert (
        slice_table(REPORTS, "roc_auc")
        .splitlines()[-1]
        .startswith("| `negatives:journal` | 900 | 600 | 0.538")
    )


def test_plots_show_their_data(tmp_path: Path) -> None:
    _, labels = scored()
    drawn = []
    for seed in (0, 1):
        path = tmp_path / f"{seed}.png"
        score_distributions(scored(seed)[0]["tiny"], labels, path)
        drawn.append(imread(path))
    assert not np.array_equal(*drawn)
    log = record().log
    training_loss(log, tmp_path / "alone.png")
    training_loss(log, tmp_path / "beside.png", reference={1: 0.25, 2: 0.15})
    assert not np.array_equal(imread(tmp_path / "alone.png"), imread(tmp_path / "beside.png"))


def test_a_timeline_shows_switches_and_figures_where_there_are_any(tmp_path: Path) -> None:
    days = [datetime(2026, 11, day, tzinfo=UTC) for day in (1, 8, 15)]
    reigns = [Reign("a" * 64), Reign("b" * 64, days[0], "promote")]
    own = report("b" * 64, auc=0.9, ndcg=0.4)
    drawn = []
    for number, (more, reports) in enumerate(
        (
            ([], {}),
            ([], {own.subject: own}),
            ([Reign("a" * 64, days[1], "rollback")], {own.subject: own}),
            ([Reign("a" * 64, days[1], "promote")], {own.subject: own}),
        )
    ):
        path = tmp_path / f"{number}.png"
        timeline([*reigns, *more], reports, path, now=days[2])
        drawn.append(imread(path))
    assert all(not np.array_equal(one, other) for one, other in pairwise(drawn))
    timeline(reigns, {}, tmp_path / "now.png", now=days[0])  # at that very moment


def test_names_from_outside_are_drawn_as_they_are(tmp_path: Path) -> None:
    ndcg_by_slice([report("$\\frac{", auc=0.5, ndcg=0.2)], tmp_path / "slices.png")
    assert (tmp_path / "slices.png").read_bytes().startswith(b"\x89PNG")


@given(st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2))
def test_the_curves_are_those_of_scikit_learn(pairs: list[tuple[int, bool]]) -> None:
    scores, labels = np.array([s for s, _ in pairs]) / 4, np.array([int(b) for _, b in pairs])
    labels[0], labels[1] = 0, 1
    found = curves(scores, labels)
    false_positives, recall, _ = roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(found.false_positives, false_positives)
    np.testing.assert_allclose(found.recall, recall)
    precision, _, _ = precision_recall_curve(labels, scores)
    np.testing.assert_allclose(found.precision[1:], precision[:-1][::-1])
