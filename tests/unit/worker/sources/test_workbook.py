"""Workbooks: cells as the texts that one sees, and no more memory than rows may take."""

import io
import random
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import openpyxl
import pytest

from tests.support.damage import refusals
from tests.support.paths import DATA
from worker.errors import SourceError
from worker.sources.columns import DOCUMENT, Columns
from worker.sources.workbook import MOST_ROWS, rows

MIB = 2**20
LIMIT = MIB
SHEET = "xl/worksheets/sheet1.xml"
SHARED = "xl/sharedStrings.xml"
NAMES = '<row><c t="inlineStr"><is><t>doi</t></is></c></row>'
ROW = '<row><c t="inlineStr"><is><t>10.1000/a</t></is></c></row>'


def write(path: Path, *sheets: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    for number, table in enumerate(sheets):
        sheet = book.active if number == 0 else book.create_sheet()
        for row in table:
            sheet.append(row)
    book.save(path)
    return path


def changed(path: Path, name: str, parts: Iterator[bytes]) -> Path:
    """The workbook with one of its parts replaced, compressed."""
    with ZipFile(path) as old:
        kept = {info: old.read(info) for info in old.namelist() if info != name}
    with ZipFile(path, "w", ZIP_DEFLATED) as new:
        for info, content in kept.items():
            new.writestr(info, content)
        with new.open(name, "w", force_zip64=True) as file:
            for part in parts:
                file.write(part)
    return path


def sheet(*inside: str, before: str = "") -> Iterator[bytes]:
    yield b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
    yield f"{before}<sheetData>".encode()
    yield from map(str.encode, inside)
    yield b"</sheetData></worksheet>"


def read(path: Path) -> list[tuple[int, dict[str, str | None]]]:
    return list(rows(path, columns=Columns(DOCUMENT, {}), limit=LIMIT))


def test_cells_are_the_texts_that_one_sees(tmp_path: Path) -> None:
    table = [
        ["DOI", "Title", "Year", "Date", "", "n"],
        ["10.1000/a", "One_x000D_\ntwo", 2020, date(2020, 5, 1), "x", 1.5],
        [],
        ["10.1000/b", None, 2021.0, datetime(2020, 5, 1, 3), True, -1],
        ["10.1000/c"],
    ]
    columns = Columns(DOCUMENT, {})
    path = write(tmp_path / "a.xlsx", table)
    assert [
        (n, {k: v for k, v in row.items() if v})
        for n, row in rows(path, columns=columns, limit=LIMIT)
    ] == [
        (
            2,
            {
                "DOI": "10.1000/a",
                "Title": "One\r\ntwo",
                "Year": "2020",
                "Date": "2020-05-01",
                "": "x",
                "n": "1.5",
            },
        ),
        (
            4,
            {
                "DOI": "10.1000/b",
                "Year": "2021",
                "Date": "2020-05-01 03:00:00",
                "": "True",
                "n": "-1",
            },
        ),
        (5, {"DOI": "10.1000/c"}),
    ]
    assert columns.use.used == {"doi": ("DOI",), "title": ("Title",), "year": ("Year", "Date")}
    assert columns.use.unused == ("n",)


def test_the_first_sheet_with_the_columns_is_read(tmp_path: Path) -> None:
    about = [["About this export"], ["Title", "of it"]]
    data = [["Exported on"], [], ["Title", "Digital Object", "doi"], ["One", "x", "10.1000/a"]]
    other = [["doi"], ["10.1000/other"]]
    path = write(tmp_path / "a.xlsx", about, data, other)
    assert [(n, row["doi"]) for n, row in read(path)] == [(4, "10.1000/a")]
    columns = Columns(DOCUMENT, {})
    list(rows(path, columns=columns, limit=LIMIT))
    assert columns.notes == ["another of its sheets has these columns; it is not read"]
    columns = Columns(DOCUMENT, {})
    list(rows(write(tmp_path / "b.xlsx", data, about), columns=columns, limit=LIMIT))
    assert not columns.notes


def test_a_workbook_without_the_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no column `doi` among `Title`, `Year`"):
        read(write(tmp_path / "a.xlsx", [[], ["Title", "Year"], ["One", 2020]]))
    with pytest.raises(SourceError, match="no column `doi` among none"):
        read(write(tmp_path / "b.xlsx", []))


def test_a_sheet_need_not_tell_its_size_truly(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xlsx", [["doi"], ["10.1000/a"]])
    for told in ("", '<dimension ref="A1:XFD1048576"/>', '<dimension ref="A1"/>'):
        rest = '<row r="9"><c r="A9" t="str"><v>10.1000/b</v></c></row>'
        changed(path, SHEET, sheet(NAMES, ROW, rest, before=told))
        assert read(path) == [(2, {"doi": "10.1000/a"}), (9, {"doi": "10.1000/b"})]


def test_texts_may_be_shared(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xlsx", [["doi"]])
    changed(path, SHEET, sheet(NAMES, '<row><c t="s"><v>1</v></c></row>'))
    texts = "<si><t>x</t></si><si><r><t>10.1000/</t></r><r><t>a</t></r></si>"
    kind = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    with_shared(path, iter([f'<sst xmlns="{kind}">{texts}</sst>'.encode()]))
    assert read(path) == [(2, {"doi": "10.1000/a"})]


def test_a_row_may_be_far_below(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xlsx", [["doi"]])
    changed(path, SHEET, sheet(NAMES, ROW.replace("<row", '<row r="1000000000"')))
    assert read(path) == [(10**9, {"doi": "10.1000/a"})]


def cells(path: Path) -> None:
    changed(path, SHEET, sheet(NAMES, "<row>", *["<c/>" * MIB] * 20, "</row>"))


def a_long_cell(path: Path) -> None:
    long = ["x" * MIB] * 300
    changed(path, SHEET, sheet(NAMES, "<row><c t='str'><v>", *long, "</v></c></row>"))


def before_the_rows(path: Path) -> None:
    changed(path, SHEET, sheet(NAMES, ROW, before="<x>" + "<y/>" * 10 * MIB + "</x>"))


def with_shared(path: Path, parts: Iterator[bytes]) -> None:
    name = "[Content_Types].xml"
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
    with ZipFile(path) as archive:
        types = archive.read(name).decode()
    told = f'<Override PartName="/{SHARED}" ContentType="{kind}"/></Types>'
    changed(path, name, iter([types.replace("</Types>", told).encode()]))
    changed(path, SHARED, parts)


def shared_texts(path: Path) -> None:
    with_shared(path, iter([b"<sst>", *[b"x" * MIB] * 300, b"</sst>"]))


def styles(path: Path) -> None:
    changed(path, "xl/styles.xml", iter([b"<x>", *[b"x" * MIB] * 300, b"</x>"]))


def entities(path: Path) -> None:
    names = "".join(f"<!ENTITY a{n + 1} '{f'&a{n};' * 10}'>" for n in range(9))
    text = f"<!DOCTYPE x [<!ENTITY a0 'x'>{names}]><x>&a9;</x>"
    with_shared(path, iter([text.encode()]))


@pytest.mark.parametrize(
    ("flood", "message"),
    [
        (
            cells,
            "sheet1.xml holds a row of more than 16 MiB or 200,000 tags; save the table as CSV",
        ),
        (a_long_cell, "sheet1.xml holds a row of more than 16 MiB"),
        (before_the_rows, "sheet1.xml holds a row of more than 16 MiB"),
        (shared_texts, "sharedStrings.xml holds more than 128 MiB or 4,000,000 tags"),
        (styles, "styles.xml holds a row of more than 16 MiB"),
        (entities, "damaged, or no workbook: "),
    ],
)
def test_what_unfolds_without_measure_is_refused(
    tmp_path: Path, flood: Callable[[Path], None], message: str
) -> None:
    path = write(tmp_path / "a.xlsx", [["doi"], ["10.1000/a"]])
    flood(path)
    assert path.stat().st_size < MIB
    tracemalloc.start()
    try:
        with pytest.raises(SourceError, match=message):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 200 * MIB
    finally:
        tracemalloc.stop()


def test_a_sheet_has_no_more_rows_than_excel_has(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xlsx", [["doi"]])
    changed(path, SHEET, sheet(NAMES, ROW, "<row/>" * (MOST_ROWS + 1)))
    found = rows(path, columns=Columns(DOCUMENT, {}), limit=LIMIT)
    assert next(found)[1] == {"doi": "10.1000/a"}
    with pytest.raises(SourceError, match="a sheet of more than 1,048,576 rows"):
        next(found)


def test_a_long_text_is_told_to_be_too_long(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xlsx", [["doi", "title"], ["10.1000/a", "x" * 1000]])
    [(_, row)] = rows(path, columns=Columns(DOCUMENT, {}), limit=100)
    assert row["title"] == "x" * 101


def test_damage_is_told_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    whole = write(path, [["doi", "year"], *[["10.1000/a", n] for n in range(99)]]).read_bytes()
    dice = random.Random(7)

    def damaged(turn: int) -> bytes:
        content = bytearray(whole[: dice.randrange(len(whole))] if turn % 3 == 0 else whole)
        for _ in range(dice.randrange(1, 20)):
            if content:
                content[dice.randrange(len(content))] = dice.randrange(256)
        return bytes(content)

    said = refusals(path, map(damaged, range(300)), read=read)
    assert len(said) > 100
    assert not any("\n" in line for line in said)


def test_any_xml_is_rows_or_damage(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xlsx", [["doi"], ["10.1000/a"]])
    dice = random.Random(7)
    pieces = [
        "<row>",
        "</row>",
        "<c r='A1'>",
        "<c t='s'>",
        "</c>",
        "<v>9</v>",
        "<v>1e999</v>",
        "<c/>",
    ]
    pieces += [
        "<c s='99'>",
        "<c t='d'>",
        "<row r='x'>",
        "<row r='2.0'/>",
        "<is><t>x</t></is>",
        "&a;",
    ]
    pieces += ["<c t='b'><v>x</v></c>", "<c t='n'><v>" + "9" * 5000 + "</v></c>", "<c r='AAAA1'/>"]
    told = []
    for _ in range(300):
        inside = "".join(dice.choices(pieces, k=dice.randrange(12)))
        changed(path, SHEET, sheet(NAMES, inside))
        try:
            read(path)
        except SourceError as error:
            told.append(str(error))
    assert told
    assert not any("\n" in line for line in told)


def test_what_is_no_workbook_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    other = io.BytesIO()
    with ZipFile(other, "w") as archive:
        archive.writestr("a.txt", "10.1000/a")
    for content in (b"", b"doi\n10.1000/a\n", b"PK\x03\x04", other.getvalue()):
        path.write_bytes(content)
        with pytest.raises(SourceError, match="damaged, or no workbook: "):
            read(path)


@pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")
def test_a_real_workbook() -> None:
    path = DATA / "files" / "colrev.xlsx"
    columns = Columns(DOCUMENT, {"doi": "Citation"})
    found = list(rows(path, columns=columns, limit=LIMIT))
    assert [number for number, _ in found] == [2, 3, 4]
    assert found[0][1]["Citation"] == "Nature. 2021 Dec 21;1(2):10-11. doi: 10.1111/nature1111."
    assert found[0][1]["author_count"] == "2"
    assert {"doi", "title", "year", "venue"} == columns.use.used.keys()
    with pytest.raises(SourceError, match="no column `doi` among `ID`, `Title`"):
        read(path)
