"""What is known of DOIs, kept from imports: field by field, nothing erased by less."""

import json
from pathlib import Path

from schemas.document import Document
from trainer.data.metadata import MetadataStore
from worker.settings.ingest import LimitSettings

DOI = "10.1038/nphys1170"


def test_each_field_is_what_was_given_for_it_last(tmp_path: Path) -> None:
    store = MetadataStore(tmp_path, limits=LimitSettings())

    def take(*rows: dict[str, object]) -> int:
        path = tmp_path / "records.jsonl"
        path.write_text("".join(json.dumps({"doi": DOI, **row}) + "\n" for row in rows))
        return store.import_files([str(path)]).added

    assert take({"title": "Measured measurement", "year": 2009}) == 1
    assert take({"abstract": "We measure."}, {"abstract": "We measure."}) == 1
    assert take({"year": 2010, "venue": "Nature Physics"}, {}, {"title": "Another"}) == 2
    assert take({"title": "Another"}, {"year": 2010}) == 0
    assert store.documents() == {
        DOI: Document(
            doi=DOI,
            title="Another",
            abstract="We measure.",
            year=2010,
            venue="Nature Physics",
        )
    }
