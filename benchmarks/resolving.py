"""A bare list gets its titles: Crossref on a local server, and what searches gain by it.

`python -m benchmarks.resolving` writes benchmarks/results/resolving.json. The registry is
tests/support/registries.py, which counts what is asked for and keeps to the limits it names; its
rate is set so high that the run ends in minutes. Searches are judged on the held-out groups of
labelled pairs: a paper should find those of its group, among all that were ingested.
"""

import argparse
import csv
import json
import lzma
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import DATA, write_result
from schemas.doi import InvalidDoi, normalize, point_id
from tests.support.deployment import deployed
from tests.support.registries import Registries

QUERIES, NEIGHBOURS = 500, 10
LISTS_A_SECOND = 50


def main() -> None:
    """Ingest bare DOIs, resolve them, and compare the searches before and after."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dois", type=int, default=20_000)
    options = parser.parse_args()
    groups = read_groups()
    records = read_records(options.dois, groups)
    dois = [record["doi"] for record in records]
    server = Registries()
    server.polite("quick", lists=(LISTS_A_SECOND, 3), alone=(LISTS_A_SECOND, 3))
    server.know(records)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "dois.txt"
        source.write_text("\n".join(dois))
        environment = server.environment("crossref")
        with deployed(Path(folder), model="base", **environment) as deployment:
            deployment.environment |= {
                "DOIVEC_EMBED__THREADS": "2",
                "DOIVEC_INGEST__BATCH_RECORDS": "1024",
            }
            deployment.start_worker()
            start = time.perf_counter()
            deployment.settled(deployment.queue(source), timeout_s=3600.0)
            ingested_s = time.perf_counter() - start
            before = ndcg(vectors(deployment, dois), dois, groups)
            start = time.perf_counter()
            said = subprocess.run(
                [sys.executable, "-m", "worker.cli", "metadata", "resolve", "--json"],
                env=deployment.environ,
                stdout=subprocess.PIPE,
                check=True,
            )
            resolved_s = time.perf_counter() - start
            after = ndcg(vectors(deployment, dois), dois, groups)
    server.close()
    asked = server.crossref.asked
    answer = json.loads(said.stdout)
    assert answer["found"] == len(dois), answer
    write_result(
        "resolving",
        {
            "dois": len(dois),
            "ingested_s": round(ingested_s, 1),
            "resolved_s": round(resolved_s, 1),
            "lists": len(server.crossref.paths),
            "asked_twice": sum(times > 1 for times in asked.values()),
            "most_lists_in_a_second": server.crossref.highest_rate("list"),
            "refused": server.crossref.refused,
            "queries": min(QUERIES, len(before)),
            "ndcg_bare": round(float(np.mean(before)), 4),
            "ndcg_titled": round(float(np.mean(after)), 4),
            "better": sum(a > b for a, b in zip(after, before, strict=True)),
            "worse": sum(a < b for a, b in zip(after, before, strict=True)),
        },
    )


def read_groups() -> dict[str, set[str]]:
    """For each paper those that share its group, by labelled pairs with label 1."""
    groups: dict[str, set[str]] = defaultdict(set)
    with lzma.open(DATA / "pairs.csv.xz", "rt", newline="") as file:
        for row in csv.DictReader(file):
            if row["label"] == "1":
                groups[row["doi_a"].lower()].add(row["doi_b"].lower())
    return groups


def read_records(count: int, groups: dict[str, set[str]]) -> list[dict[str, Any]]:
    """Real records with titles: those of groups first, then any."""
    with lzma.open(DATA / "metadata.jsonl.xz", "rt") as rows:
        known = {row["doi"]: row for row in map(json.loads, rows) if row.get("title")}
    known = {doi: row for doi, row in known.items() if is_canonical(doi)}
    wanted: dict[str, dict[str, Any]] = {}
    for doi, others in groups.items():
        there = [other for other in others if other in known]
        if doi in known and there:
            wanted.update({name: known[name] for name in (doi, *there)})
        if len(wanted) >= count // 2:
            break
    wanted.update(islice(known.items(), count - len(wanted)))
    return list(wanted.values())[:count]


def is_canonical(doi: str) -> bool:
    """Whether a DOI is stored as it stands here."""
    with suppress(InvalidDoi):
        return normalize(doi) == doi
    return False


def vectors(deployment: Any, dois: list[str]) -> NDArray[np.float32]:
    """The stored vectors float32 [n, d] of the DOIs, in their order."""
    found = []
    with deployment.qdrant_client() as client:
        for start in range(0, len(dois), 1000):
            ids = [point_id(doi) for doi in dois[start : start + 1000]]
            points = {p.id: p.vector for p in client.retrieve("dois", ids, with_vectors=True)}
            found += [points[i] for i in ids]
    return np.array(found, np.float32)


def ndcg(stored: NDArray[np.float32], dois: list[str], groups: dict[str, set[str]]) -> list[float]:
    """nDCG@10 of each query: its group's papers should be found among all."""
    place = {doi: row for row, doi in enumerate(dois)}
    queries = [doi for doi in dois if groups.get(doi, set()) & place.keys()][:QUERIES]
    gains = []
    for doi in queries:
        scores = stored @ stored[place[doi]]
        scores[place[doi]] = -1
        nearest = np.argpartition(-scores, NEIGHBOURS)[:NEIGHBOURS]
        nearest = nearest[np.argsort(-scores[nearest])]
        hits = [dois[row] in groups[doi] for row in nearest]
        ideal = min(NEIGHBOURS, len(groups[doi] & place.keys()))
        discounts = 1 / np.log2(np.arange(NEIGHBOURS) + 2)
        gains.append(float((discounts * hits).sum() / discounts[:ideal].sum()))
    return gains


if __name__ == "__main__":
    main()
