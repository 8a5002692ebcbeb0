"""Write what the code knows into the documentation; a test holds the two against each other.

`python docs/generate.py` renews docs/cli.md, in README.md the tables of the settings and of what
was measured, in docs/operations/ those of what a million DOIs take and of the alerts, and in
docs/reliability.md that of what was broken.
"""

import json
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import yaml
from pydantic import SecretStr

from trainer.cli.commands import cli as trainer_cli
from worker.cli.commands import cli as worker_cli
from worker.settings.environment import variables

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
KINDS = {"kills": 0, "promotion": 0, "network": 1}  # which part of the words says what was done
SHORT = 8
SHOWN_KINDS = 8
Teller = Callable[[dict[str, Any]], Iterator[tuple[str, str]]]


def settings_table() -> str:
    """A row for each setting: its variable, its default, what it does."""
    rows = ["| variable | default | what |", "|---|---|---|"]
    for variable, field in variables():
        default = _default(field.get_default(call_default_factory=True))
        rows.append(f"| `{variable}` | {default} | {field.description} |")
    return "\n".join(rows)


def cli_reference() -> str:
    """The help of every command, as it is printed."""
    parts = [
        "# Commands\n\nWhat `doi-worker COMMAND --help` and `doi-trainer COMMAND --help` print.\n"
    ]
    for path, command in all_commands():
        context = click.Context(command, info_name=path, max_content_width=90)
        parts.append(f"## {path}\n\n```\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def all_commands() -> Iterator[tuple[str, click.Command]]:
    """Each command of both programs with the words that call it."""
    yield from commands(worker_cli, "doi-worker")
    yield from commands(trainer_cli, "doi-trainer")


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Each command with the words that call it, groups before their members."""
    yield path, command
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from commands(command.commands[name], f"{path} {name}")


def measured_table() -> str:
    """What `make bench` wrote, in words."""
    return _measured(TELLERS)


def gpu_table() -> str:
    """The same, where there was a GPU."""
    return _measured(GPU_TELLERS)


def _measured(tellers: Mapping[str, Teller]) -> str:
    rows: list[str] = []
    machine = {"cpu": "nothing measured yet", "cores": 0, "memory_gib": 0}
    for name, tell in tellers.items():
        path = RESULTS / f"{name}.json"
        if path.exists():
            result = json.loads(path.read_text())
            rows += [f"| {what} | {figure} |" for what, figure in tell(result)]
            machine = result["machine"]
    where = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB"
    if machine.get("gpu"):
        where = f"{machine['gpu']}, torch {machine['torch']}, {where}"
    head = (
        f"Medians, with the lowest and highest round, on: {where}.\n\n| what | figure |\n|---|---|"
    )
    return "\n".join([head, *rows])


def sizing_table() -> str:
    """What a million DOIs take in Qdrant, and a worker with its models, as it was measured."""
    path = RESULTS / "sizing.json"
    if not path.exists():
        return "Nothing measured yet."
    result = json.loads(path.read_text())
    rows = [
        "| a million | collections | memory of its own | mapped files in memory | disk |",
        "|---|---|---|---|---|",
    ]
    for name, what in SIZED.items():
        for count, figures in result.get(name, NOT_MEASURED)["a_million"].items():
            cells = (_gib(figures[f"{part}_mib"]) for part in ("anon", "file", "disk"))
            rows.append(f"| {what} | {count} | {' | '.join(cells)} |")
    return "\n".join([*rows, "", *(textwrap.fill(n, 100) for n in _sizing_notes(result))])


def index_table() -> str:
    """What the local index of metadata takes, and how fast it is, as it was measured."""
    path = RESULTS / "metadata_index.json"
    if not path.exists():
        return "Nothing measured yet."
    result = json.loads(path.read_text())
    small, large = result["build"]
    warm, cold = (result["look_up_of_1024"][kind] for kind in ("warm", "cold"))
    reading = result["reading"]
    rows = [
        "| what | figure |",
        "|---|---|",
        f"| records, every fourth with an abstract | {large['records']:,} |",
        f"| disk, a record | {large['bytes_a_record']:.0f} bytes |",
        f"| disk, a million | {result['a_million_mib']:,} MiB |",
        f"| reading Crossref's files, a core | {_a_core(reading)} records a second |",
        f"| merging into an empty index | {large['merged_per_s']:,} records a second, "
        f"{large['records'] / large['merge_cpu_s']:,.0f} in one of the processor's own |",
        f"| memory of the merge | {large['peak_memory_mib']} MiB, {small['peak_memory_mib']} for "
        f"{small['records']:,} |",
        f"| looking up 1,024 random DOIs, warm | {warm['median_ms']:,.0f} ms (best "
        f"{warm['best_ms']:,.0f}), of which the processor {warm['cpu_ms']:,.0f} |",
        f"| the same, nothing of the file in memory | {cold['median_ms']:,.0f} ms |",
    ]
    return "\n".join(rows)


def _a_core(reading: dict[str, Any]) -> str:
    return f"{1e6 / reading['reader_cpu_us_a_record']:,.0f}"


def alerts_table() -> str:
    """A row for each alert rule: what is, and what to do."""
    rules = yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text())["groups"][0]["rules"]
    rows = ["| alert | what is | what to do |", "|---|---|---|"]
    for rule in rules:
        said = rule["annotations"]
        rows.append(f"| `{rule['alert']}` | {said['summary']} | {said['action']} |")
    return "\n".join(rows)


def faults_table() -> str:
    """A row for each part of the fault bench that was run: what it did, how often."""
    paths = sorted((RESULTS / "faults").glob("*.json"))
    found = {path.stem: json.loads(path.read_text()) for path in paths}
    rows = ["| part | rounds | what was done | minutes | source |", "|---|---|---|---|---|"]
    for name, part in found.items():
        did = Counter[str]()
        for what, count in part["counts"].items():
            did[what.split(", ")[KINDS[name]] if name in KINDS else what] += count
        words = [f"{count:,} × {what}" for what, count in did.most_common(SHOWN_KINDS)]
        rest = did.total() - sum(count for _, count in did.most_common(SHOWN_KINDS))
        words += [f"{rest:,} × {len(did) - SHOWN_KINDS} other kinds"] if rest else []
        rounds = f"{part['rounds']:,} of {part['of']:,}"
        minutes = f"{part['seconds'] / 60:,.0f}"
        cells = (f"`{name}`", rounds, "; ".join(words), minutes, f"`{part['source'][:SHORT]}`")
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows if found else ["Nothing run yet."])


def renewed(page: str) -> str:
    """A page with its generated parts renewed."""
    for name, table in TABLES.items():
        before, opening, rest = page.partition(f"<!-- {name} -->")
        _, closing, after = rest.partition(f"<!-- /{name} -->")
        if opening:
            page = f"{before}{opening}\n{table()}\n{closing}{after}"
    return page


def _gib(mib: float) -> str:
    return f"{mib / 1024:.2f} GiB"


def _sizing_notes(result: dict[str, Any]) -> Iterator[str]:
    sizes = {what: _sizes(result[name]) for name, what in SIZED.items() if name in result}
    between = ", ".join(f"{what}: {a:,} and {b:,}" for what, (a, b) in sizes.items())
    metadata = result["titles"]["mean_metadata_bytes"]
    yield (
        f"Extrapolated by the slope between two sizes that were measured ({between}), with vectors "
        "made up at random, after a restart and 500 queries of each collection: take a third more. "
        f"A record with a title has {metadata:.0f} bytes of metadata on average."
    )
    yield ""
    yield _while_indexing(result["bare"]["rows"])
    yield ""
    none, one, two = (_resident(result["worker"][count]) for count in "012")
    yield (
        f"A worker's process on the CPU holds {none} MiB without a model, {one} with one, {two} "
        "with two."
    )


def _sizes(case: dict[str, Any]) -> list[int]:
    return [row["points"] for row in case["rows"] if row.get("collections") == 1]


def _resident(row: dict[str, float]) -> str:
    return f"{row['anon_mib'] + row['file_mib']:,.0f}"


def _while_indexing(rows: list[dict[str, Any]]) -> str:
    built = [row for row in rows if "filled" in row][-1]
    rest = [row for row in rows if row.get("collections") == 1][-1]
    return (
        f"While Qdrant built the index of {built['filled']:,} bare DOIs it held up to "
        f"{built['peak_mib']:,.0f} MiB in memory and {built['peak_disk_mib']:,.0f} MiB on disk; at "
        f"rest, {_resident(rest)} and {rest['disk_mib']:,.0f}."
    )


def _default(value: Any) -> str:
    if value is None or value == {} or isinstance(value, SecretStr):
        return ""
    if isinstance(value, Path):
        return f"`{'~' / value.relative_to(Path.home())}`"
    if isinstance(value, tuple | dict):
        return f"`{json.dumps(value)}`"
    return f"`{value}`"


def _figure(figures: dict[str, dict[str, float]], name: str, digits: int = 2) -> str:
    f = figures[name]
    return f"{f['median']:,.{digits}f} ({f['min']:,.{digits}f} to {f['max']:,.{digits}f})"


def _pipeline(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    figures, count = result["figures"], result["dois"]
    rate = count / figures["whole_s"]["median"]
    if gpu := result["machine"].get("gpu"):
        alone = (count / figures[f"{part}_s"]["median"] for part in ("embed", "upsert"))
        yield f"end to end, {count:,} DOIs, one worker, one round", f"{rate:,.0f} DOIs/s"
        yield (
            f"embedding alone (on the {gpu}), and Qdrant's upserts alone, one after the other",
            " and ".join(f"{part:,.0f} DOIs/s" for part in alone),
        )
        return
    yield f"end to end, {count:,} DOIs, all on the same cores", f"{rate:,.0f} DOIs/s"
    yield "end to end, CPU time, of the sum of the parts alone", _figure(figures, "cpu_ratio")
    yield "the same list again, time of the first", _figure(figures, "again_ratio", 3)
    share = _figure(figures, "upsert_under_embedding")
    yield "share of the upserts' time under another batch's embedding", share


def _titled(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    figures, count = result["figures"], result["dois"]
    rate = count / figures["whole_s"]["median"]
    yield f"the same with titles, {count:,} records", f"{rate:,.0f} records/s"
    yield "the same titles again, time of the first", _figure(figures, "again_ratio", 3)


def _pinned(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    ratio = _figure(result["figures"], "rate_ratio")
    yield "end to end, Qdrant on a core of its own: rate, of the slower part alone", ratio


def _scale(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield (
        f"{result['job']['accepted']:,} DOIs through queue, ledger and Qdrant, with a stand-in "
        "for the GPU: rate at the start, at the end",
        f"{result['rate_at_start']:,} and {result['rate_at_end']:,} DOIs/s",
    )
    yield (
        "Redis's growth for the settled batches it keeps",
        f"{result['redis_bytes_a_doi']} bytes a DOI",
    )


def _range(figure: dict[str, float], digits: int = 0) -> str:
    median, low, high = (f"{figure[name]:,.{digits}f}" for name in ("median", "low", "high"))
    return f"{median} ({low} to {high})"


def _reading(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, found in result["formats"].items():
        titles = "" if name == "txt" else " with titles"
        yield f"reading .{name}{titles}, on a core", f"{found['records_per_s']:,} records/s"


def _embedding(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, what in (("short", "DOIs"), ("long", "abstracts")):
        part, dtype = result[name], result["embedder"]["doivec_dtype"]
        rates, tokens = part["texts_a_second"], part["mean_tokens"]
        yield (
            f"embedding {what} ({tokens:.0f} tokens), {dtype}",
            f"{_range(rates['doivec'])} a second",
        )
        yield (
            "the same, sentence-transformers at its defaults",
            f"{_range(rates['sentence_transformers'])} a second",
        )
        yield "ratio, round by round", _range(part["doivec_times"]["sentence_transformers"], 2)
        for other in part["doivec_times"].keys() - {"sentence_transformers"}:
            words = other.removeprefix("sentence_transformers_").replace("_", " ")
            yield f"ratio to sentence-transformers, {words}", _range(part["doivec_times"][other], 2)
        if share := part["share_of_matrix_rate"].get(dtype):
            yield f"share of this machine's own {dtype} matrix rate", f"{share:.0%}"
    parity = result["parity"]["doivec"]
    yield (
        f"parity with sentence-transformers in float32, {result['parity']['dois']:,} DOIs",
        f"lowest cosine {parity['lowest_cosine']:.7f}, "
        f"top ten of 1,000 queries {parity['same_top_ten']:.1%} the same",
    )


def _resolving(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield (
        f"{result['dois']:,} bare DOIs, titled by a registry on this machine: asked twice, lists a "
        "second at the most (3 at once were allowed, 50 a second)",
        f"{result['asked_twice']:,}, {result['most_lists_in_a_second']}",
    )
    yield (
        f"searches of {result['queries']} of these papers for those of their groups: nDCG@10 by "
        "the DOIs' strings, by the titles that were found",
        f"{result['ndcg_bare']:.3f} and {result['ndcg_titled']:.3f}",
    )


def _life(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    beside = {"backfill": "beside a backfill", "both": "beside one and writing to two collections"}
    for mode, words in beside.items():
        found = result[mode]
        yield f"ingest {words}: rate, of ingest alone", _range(found["rate_ratio"], 2)
        yield (
            f"queries by id {words}: 99th percentile, of that under ingest alone",
            _range(found["p99_ratio"], 2),
        )


def _training(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    speed = result["speed"]
    rates = speed["steps_a_second"]
    yield "training by recipe `seed`, batches of 32 pairs", f"{_range(rates['doivec'], 2)} steps/s"
    yield "the same, stock Trainer, fused AdamW", f"{_range(rates['stock_fused'], 2)} steps/s"
    yield "ratio, round by round", _range(speed["times_stock_fused"]["doivec"], 2)
    yield (
        "ratio to the stock Trainer with unfused AdamW",
        _range(speed["times_stock"]["doivec"], 2),
    )
    same = result["same_losses_without_dropout"]
    yield (
        f"largest difference of a loss in {same['steps']} steps without dropout",
        f"{same['largest_loss_difference']:.1e}",
    )


TELLERS: dict[str, Teller] = {
    "reading": _reading,
    "embedding_cpu": _embedding,
    "pipeline": _pipeline,
    "pipeline_titled": _titled,
    "pipeline_pinned": _pinned,
    "scale": _scale,
    "training_cpu": _training,
    "life": _life,
    "resolving": _resolving,
}

GPU_TELLERS: dict[str, Teller] = {
    "embedding_h200": _embedding,
    "training_h200": _training,
    "pipeline_h200": _pipeline,
}

SIZED = {
    "bare": "bare DOIs",
    "on_disk": "bare DOIs, `on_disk` vectors",
    "titles": "DOIs with titles",
}
NOT_MEASURED: dict[str, Any] = {"a_million": {}}
TABLES = {
    "settings": settings_table,
    "measured": measured_table,
    "gpu": gpu_table,
    "sizing": sizing_table,
    "metadata-index": index_table,
    "alerts": alerts_table,
    "faults": faults_table,
}
PAGES = ("README.md", "docs/reliability.md")


if __name__ == "__main__":
    (ROOT / "docs" / "cli.md").write_text(cli_reference())
    for page in (*(ROOT / page for page in PAGES), *(ROOT / "docs" / "operations").glob("*.md")):
        page.write_text(renewed(page.read_text()))
