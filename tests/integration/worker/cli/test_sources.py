"""What people's files hold is queued, counted and told, as a person types it."""

import json
from pathlib import Path

import pytest

from tests.support.shell import TRAINER, WORKER, Shell
from tests.support.tiny_model import make_tiny_model

NUMPY, NPHYS = "10.1038/s41586-020-2649-2", "10.1038/nphys1170"
ZOTERO = (
    '"Key","Item Type","Publication Year","Author","Title","Publication Title","DOI","Date"\n'
    f'"A","journalArticle","2008","Doe, J","Quantum","Nature Physics","{NPHYS}","1 May 2008"\n'
    '"B","book","in press","Doe, J","A book","","",""\n'
    '"C","journalArticle","","Doe, J","N/A","Nature","10.1038/nature11543","in press"\n'
    '"D","journalArticle","","Doe, J","Damage","Nature","nature","2001"\n'
)
pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path, DOIVEC_MODEL__NAME=str(make_tiny_model(tmp_path / "model")))


def write(shell: Shell, name: str, content: str | bytes) -> str:
    path = shell.folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return name


def test_ingest_tells_what_it_read_and_what_not(shell: Shell) -> None:
    source = write(shell, "zotero.csv", ZOTERO)
    done = shell.run(WORKER, "ingest", source, "--rejects", "rejects.jsonl", expect=3)
    assert "read 4 = accepted 2 + repeated 0 + invalid 1 + without a DOI 1" in done.stdout
    told = done.stderr.splitlines()
    assert (
        "zotero.csv: title from Title; doi from DOI; year from Publication Year, else Date; venue "
        "from Publication Title; not used: Key, Item Type, Author"
    ) in told
    assert "rows without a DOI: 1 (--rejects FILE keeps them all)" in told
    at = told.index("fields dropped 2; their records are kept:")
    assert told[at + 1 :][:2] == [
        "  zotero.csv:4: title 'N/A': says nothing",
        "  zotero.csv:4: year 'in press': not a year from 1000 to 2999",
    ]
    lines = (shell.folder / "rejects.jsonl").read_text().splitlines()
    assert [(r["line"], r["reason"][:6]) for r in map(json.loads, lines)] == [
        (3, "no DOI"),
        (5, "no reg"),
    ]
    job = shell.json(WORKER, "status", done.stdout.split()[1], expect=3)
    assert (job["read"], job["invalid"], job["without_doi"]) == (4, 1, 1)
    assert job["reading"]["fields_dropped"] == 2
    assert job["reading"]["columns"][0][2] == ["Key", "Item Type", "Author"]


def test_a_source_is_read_as_a_person_says(shell: Shell) -> None:
    source = write(shell, "a.csv", f"Identifier;TI\n{NUMPY};Über Größe\n".encode("cp1252"))
    error = shell.run(WORKER, "ingest", source, expect=1).stderr
    assert "no column `doi` among `Identifier`, `TI`; --column doi=NAME says which it is" in error
    words = ["--column", "doi=Identifier"]
    error = shell.run(WORKER, "ingest", source, *words, expect=1).stderr
    assert "a.csv: not UTF-8; it looks like cp1252: --encoding cp1252 reads it" in error
    assert error.count("not UTF-8 at") == 0
    shell.worker("ingest", source, *words, "--encoding", "cp1252")
    shell.worker("ingest", write(shell, "b.txt", f"{NPHYS}\n"))
    [hit] = json.loads(shell.worker("search", NPHYS, "--all", "--json"))
    assert hit["metadata"]["title"] == "Über Größe"


def test_wrong_options_are_wrong_usage(shell: Shell) -> None:
    for words in (
        ["--encoding", "rot13"],
        ["--column", "doi"],
        ["--column", "doi=a", "--column", "doi=b"],
        ["--format", "docx"],
    ):
        shell.worker("ingest", "a.txt", *words, expect=2)
        shell.run(TRAINER, "metadata", "import", "a.txt", *words, expect=2)


def test_a_source_without_a_record_is_an_error_and_what_came_before_settles(shell: Shell) -> None:
    good = write(shell, "a.txt", f"{NUMPY}\n")
    done = shell.run(WORKER, "ingest", write(shell, "b.csv", "doi,title\n,A\n"), good, expect=1)
    assert "b.csv: none of its 1 records can be read: no DOI" in done.stderr
    assert "read 2 = accepted 1 + repeated 0 + invalid 0 + without a DOI 1" in done.stdout
    done = shell.run(WORKER, "queue", write(shell, "c.txt", "numpy\n"), expect=1)
    assert "c.txt: none of its 1 records can be read" in done.stderr


@pytest.mark.parametrize(
    "content",
    [
        f"doi;title\n{NUMPY};Arrays\n",
        f'[{{"DOI": "{NUMPY}", "title": ["Arrays"]}}]',
        f'{{"DOI": "{NUMPY}", "title": ["Arrays"]}}\n',
        f"@article{{a, doi={{{NUMPY}}}, title={{{{Arrays}}}}}}",
        f"TY  - JOUR\nDO  - {NUMPY}\nTI  - Arrays\nER  - \n",
    ],
)
def test_standard_input_is_told_by_its_first_bytes(shell: Shell, content: str) -> None:
    source = shell.folder / write(shell, "stdin", content)
    with source.open() as stdin:
        process = shell.start(TRAINER, "metadata", "import", "-", stdin=stdin.fileno())
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "read 1 = added 1 + repeated 0 + bare DOIs 0 + invalid 0 + without a DOI 0" in out


def test_metadata_and_pairs_are_read_in_the_same_way(shell: Shell) -> None:
    done = shell.run(TRAINER, "metadata", "import", write(shell, "zotero.csv", ZOTERO), expect=3)
    assert (
        "read 4 = added 2 + repeated 0 + bare DOIs 0 + invalid 1 + without a DOI 1" in done.stdout
    )
    assert "not used: Key, Item Type, Author" in done.stderr
    assert "fields dropped 2; their records are kept:" in done.stderr
    pairs = f"sentence1;sentence2;score;n\r{NUMPY};{NPHYS};1.00;3\r{NUMPY};10.1000/a;False;4\r"
    source = write(shell, "pairs.csv", pairs.encode("utf-16"))
    done = shell.run(TRAINER, "pairs", "import", source)
    assert "read 2 = new 2 (added)" in done.stdout
    assert "not used: n" in done.stderr
