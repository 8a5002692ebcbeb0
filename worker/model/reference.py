"""What a model version's manifest says of it, as sentence-transformers itself has it."""

import base64
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from schemas.model import Canary, ModelVersion
from worker.errors import ModelError, WorkerError
from worker.model.artefact import deciding_files, sha256_of, version_of
from worker.model.embedder import LOWEST_CANARY_COSINE, Embedder, Vectors

# A short DOI, a SICI-coded one, a title, and a text longer than the usual limit of 256 tokens.
CANARY_TEXTS = (
    "10.1038/nphys1170",
    "10.1002/(sici)1097-4571(199806)49:8<693::aid-asi4>3.0.co;2-o",
    "Array programming with NumPy",
    "Equation of state calculations by fast computing machines. " * 40,
)


def describe(path: Path, *, name: str, templates: Sequence[str]) -> ModelVersion:
    """The manifest of a sentence-transformers directory, with the vectors of a few fixed texts.

    Raises `ModelError`, also where the model gives a text another vector beside other texts.
    """
    files = deciding_files(path)
    reference = Embedder.load_reference(path)
    vectors = _alike(reference, name)
    canaries = (
        Canary(text=text, vector=base64.b64encode(vector.astype("<f4").tobytes()).decode())
        for text, vector in zip(CANARY_TEXTS, vectors, strict=True)
    )
    return ModelVersion(
        version=version_of(files, templates),
        name=name,
        dimension=reference.dimension,
        max_tokens=reference.max_tokens,
        templates=tuple(templates),
        files={relative: sha256_of(file) for relative, file in files.items()},
        canaries=tuple(canaries),
    )


def _alike(reference: Embedder, name: str) -> Vectors:
    """The vectors of the canaries' texts, which must be the same alone and beside each other.

    They are not where texts are padded on the left of absolute positions, or without a mask.
    """
    try:
        together = reference.encode(CANARY_TEXTS)
        alone = np.concatenate([reference.encode([text]) for text in CANARY_TEXTS])
    except WorkerError:
        raise
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelError(f"the model {name!r} can't embed a text: {reason}") from error
    lowest = float((together * alone).sum(axis=1).min())
    if not lowest >= LOWEST_CANARY_COSINE:
        raise ModelError(
            f"the model {name!r} gives a text another vector beside other texts than alone "
            f"(cosine {lowest:.4f}): look at its padding_side and its attention mask"
        )
    return together
