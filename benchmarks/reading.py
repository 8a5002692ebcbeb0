"""How fast sources are read to documents, on one core, a format at a time.

The records are real ones with titles (`../shared/data/metadata.jsonl.xz`); without them, the
examples' DOIs under made-up titles. Each format holds the same records; the rate is of processor
time, since a producer's other work is elsewhere.
"""

import argparse
import csv
import gzip
import json
import lzma
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.machine import DATA, dois, write_result
from schemas.document import Document
from worker.settings.ingest import LimitSettings
from worker.sources.records import read

FIELDS = ("doi", "title", "year", "venue")
Rows = Sequence[dict[str, Any]]


def records(count: int) -> list[dict[str, Any]]:
    """The first `count` records with titles, without abstracts."""
    path = DATA / "metadata.jsonl.xz"
    if not path.exists():
        return [{"doi": doi, "title": f"What is known of {doi}"} for doi in dois(count)]
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        found = (json.loads(line) for line in islice(lines, count))
        return [{name: row[name] for name in FIELDS if row.get(name)} for row in found]


def _bibtex(rows: Rows, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for number, row in enumerate(rows):
            named = row | {"journal": row.get("venue", "")}
            fields = (f"  {n} = {{{v}}},\n" for n, v in named.items() if n != "venue" and v)
            file.write(f"@article{{r{number},\n{''.join(fields)}}}\n\n")


def _ris(rows: Rows, path: Path) -> None:
    tags = {"doi": "DO", "title": "TI", "year": "PY", "venue": "T2"}
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            lines = (f"{tags[name]}  - {value}\n" for name, value in row.items())
            file.write(f"TY  - JOUR\n{''.join(lines)}ER  - \n\n")


def _csv(rows: Rows, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(rows)


def _json_lines(rows: Rows, path: Path) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _compressed(rows: Rows, path: Path) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def _array(rows: Rows, path: Path) -> None:
    path.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def _list(rows: Rows, path: Path) -> None:
    path.write_text("".join(f"{row['doi']}\n" for row in rows), encoding="utf-8")


FORMATS: dict[str, Callable[[Rows, Path], None]] = {
    "txt": _list,
    "csv": _csv,
    "jsonl": _json_lines,
    "jsonl.gz": _compressed,
    "json": _array,
    "ris": _ris,
    "bib": _bibtex,
}


def rate(path: Path) -> tuple[int, float]:
    """How many documents a source gives, and how many in a second of processor time."""
    began = time.process_time()
    found = read(str(path), limits=LimitSettings())
    count = sum(isinstance(record, Document) for record in found)
    return count, count / (time.process_time() - began)


def main() -> None:
    """Write the records in each format, and measure how fast they are read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=50_000)
    rows = records(parser.parse_args().records)
    result: dict[str, Any] = {"records": len(rows), "formats": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name, write in FORMATS.items():
            path = Path(folder) / f"records.{name}"
            write(rows, path)
            count, per_s = rate(path)
            result["formats"][name] = {"documents": count, "records_per_s": round(per_s)}
    write_result("reading", result)


if __name__ == "__main__":
    main()
