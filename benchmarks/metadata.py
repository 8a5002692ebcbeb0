"""The local index of metadata: how fast it is built and read, and what a million records take.

The records are real ones (`../shared/data/metadata.jsonl.xz`), under DOIs that are varied (a
number behind them) until there are enough; every fourth has an abstract, of the few thousand that
there are. The dictionary is made of records with the one half of the abstracts, and what is
measured has the other, so that it doesn't know them by heart.

Reading is measured on fewer records, in the shape of Crossref's files: from JSON to runs on disk.
For the build, records are packed once for each real one, and then merged as they always are.
"""

import argparse
import gzip
import json
import lzma
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import DATA, ROOT, write_result
from schemas.document import Document
from worker.metadata import bodies
from worker.metadata.bodies import Key, Packer
from worker.metadata.entries import File
from worker.metadata.index import Index, position
from worker.metadata.indexing import Indexing, Options
from worker.metadata.runs import RunWriter
from worker.settings.ingest import LimitSettings

FILE_RECORDS = 5_000  # of Crossref's files
LOOKED_UP, LOOKS = 1024, 20
ABSTRACT_EVERY = 4
MIB = 2**20
NOW = 1.7e9
CROSSREF = 180_000_000
MERGE = """
import json, re, sys, time
from pathlib import Path
from worker.metadata.runs import merge, runs

began = time.perf_counter()
records = sum(merge(runs(Path(sys.argv[1])), Path(sys.argv[2]), now=1))
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(json.dumps({
    "records": records,
    "merge_s": round(time.perf_counter() - began, 1),
    "merge_cpu_s": round(time.process_time(), 1),
    "peak_memory_mib": int(peak[1]) // 1024,
}))
"""


def documents(rows: Sequence[dict[str, Any]], abstracts: Sequence[str]) -> list[Document]:
    """The records, every fourth with an abstract."""
    given = cycle(abstracts)
    return [
        Document(
            doi=row["doi"].lower(),
            source="crossref",
            abstract=next(given) if n % ABSTRACT_EVERY == 0 else None,
            **{name: row.get(name) for name in ("title", "year", "venue")},
        )
        for n, row in enumerate(rows)
    ]


def varied(known: Sequence[Document], count: int) -> Iterator[tuple[Document, str]]:
    """Documents and DOIs, so many of them."""
    for n in range(count):
        document = known[n % len(known)]
        yield document, f"{document.doi}.{n}"


def crossref(document: Document, doi: str) -> dict[str, Any]:
    """A record as Crossref writes it, with as many references as its records have on average."""
    reference = {"key": "ref", "DOI": "10.1000/x", "author": "A. Author", "year": "2001"}
    return {
        "DOI": doi,
        "title": [document.title],
        "container-title": [document.venue or ""],
        "issued": {"date-parts": [[document.year]]},
        "indexed": {"timestamp": 1_700_000_000_000},
        "reference": [reference] * 20,
        **({"abstract": f"<jats:p>{document.abstract}</jats:p>"} if document.abstract else {}),
    }


def read_rate(known: Sequence[Document], count: int, *, jobs: int, folder: Path) -> dict[str, Any]:
    """How fast files of Crossref's shape are brought into an empty index, all steps."""
    made = varied(known, count)
    (folder / "snapshot").mkdir()
    for number in range(count // FILE_RECORDS):
        path = folder / "snapshot" / f"{number}.jsonl.gz"
        with gzip.open(path, "wt", encoding="utf-8", compresslevel=6) as file:
            for document, doi in islice(made, FILE_RECORDS):
                file.write(json.dumps(crossref(document, doi)) + "\n")
    index = Index(folder / "read.sqlite")
    before, began = _children_s(), time.perf_counter()
    indexing = Indexing(index, limits=LimitSettings(), now=NOW)
    indexing.run([str(folder / "snapshot")], Options(jobs=jobs), show=lambda _: None)
    seconds = time.perf_counter() - began
    return {
        "records": count,
        "jobs": jobs,
        "records_per_s": round(count / seconds),
        "reader_cpu_us_a_record": round(1e6 * (_children_s() - before) / count),
    }


def build(known: Sequence[Document], samples: Sequence[bytes], count: int, path: Path) -> Any:
    """Runs of so many records, merged into an empty index."""
    index, folder = Index(path), path.with_name("runs")
    folder.mkdir()
    dictionary = index.dictionary(samples)
    packer = Packer(dictionary.number, dictionary.bytes)
    packed = [packer.body(Key.of(document.doi), document) for document in known]
    writer, began = RunWriter(folder), time.perf_counter()
    for n, (_, doi) in enumerate(varied(known, count)):
        key = Key.of(doi)
        body = packed[n % len(packed)]
        writer.add(position(key, "crossref"), 5, body[:1] + key.check + body[5:])
    writer.write([File("made", "all", 1, 1, count, 1)])
    written, size = time.perf_counter() - began, sum(p.stat().st_size for p in folder.iterdir())
    run = [sys.executable, "-c", MERGE, str(folder), str(path)]
    merged = json.loads(subprocess.check_output(run, cwd=ROOT, text=True))
    folder.rmdir()
    assert merged["records"] == count == index.counts(now=NOW)["crossref"].found
    return {
        **merged,
        "merged_per_s": round(count / merged["merge_s"]),
        "runs_written_s": round(written, 1),
        "runs_mib": round(size / MIB),
        "body_bytes_a_record": round(sum(map(len, packed)) / len(packed), 1),
        "bytes_a_record": round(index.size() / count, 1),
    }


def look_ups(known: Sequence[Document], count: int, path: Path, *, cold: bool) -> dict[str, float]:
    """How long 1,024 DOIs at random take, in milliseconds, all of which are there."""
    chosen, index = random.Random(1), Index(path)  # noqa: S311
    walls, cpus = [], []
    for _ in range(LOOKS):
        numbers = [chosen.randrange(count) for _ in range(LOOKED_UP)]
        dois = [f"{known[n % len(known)].doi}.{n}" for n in numbers]
        if cold:
            _forget_pages(path)
        else:
            index.find(dois)
        wall, cpu = time.perf_counter(), time.process_time()
        assert len(index.find(dois)) == len(set(dois))
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return {
        "median_ms": round(1000 * median(walls), 1),
        "best_ms": round(1000 * min(walls), 1),
        "cpu_ms": round(1000 * median(cpus), 1),
    }


def _forget_pages(path: Path) -> None:
    """Let the system forget what it has of a file in memory."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Build an index of so many records, and look DOIs up in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=10_000_000)
    parser.add_argument("--read", type=int, default=100_000)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    with lzma.open(DATA / "metadata.jsonl.xz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    abstracts = [row["abstract"] for row in rows if row.get("abstract")]
    half = len(abstracts) // 2
    known = documents(rows, abstracts[:half])
    samples = [bodies.text(d) for d in documents(rows[-bodies.SAMPLES :], abstracts[half:])]
    count = options.records
    result: dict[str, Any] = {"real_records": len(known)}
    with tempfile.TemporaryDirectory() as name:
        folder, path = Path(name), Path(name) / "metadata.sqlite"
        result["reading"] = read_rate(known, options.read, jobs=options.jobs, folder=folder)
        print(result["reading"], flush=True)
        result["build"] = []
        for records in (count // 10, count):
            path.unlink(missing_ok=True)
            result["build"].append(build(known, samples, records, path))
            print(result["build"][-1], flush=True)
        result["look_up_of_1024"] = {
            kind: look_ups(known, count, path, cold=kind == "cold") for kind in ("warm", "cold")
        }
    a_record = result["build"][-1]["bytes_a_record"]
    result["a_million_mib"] = round(a_record * 1e6 / MIB)
    result["crossref_of_180_million_gib"] = round(a_record * CROSSREF / 2**30)
    write_result("metadata_index", result)


if __name__ == "__main__":
    main()
