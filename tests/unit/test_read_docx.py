"""Word files: what is read of them, wherever in the document it stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from read_files import records, rejection, squeeze, whole, write


def test_docx(tmp_path: Path) -> None:
    docx = pytest.importorskip("docx", reason="the extra 'docx' is not installed")
    document = docx.Document()
    document.add_heading("Heading", 1)
    document.add_paragraph("First.")
    table = document.add_table(1, 2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "left", "right"
    document.add_paragraph("Last.")
    document.save(str(tmp_path / "a.docx"))
    assert whole(tmp_path / "a.docx") == ("Heading", "Heading\n\nFirst.\n\nleft right\n\nLast.")
    (record,) = records(tmp_path / "a.docx")
    assert record.whole is not None
    assert {section.heading for section in record.whole.sections} == {"Heading"}
    broken = write(tmp_path / "b.docx", b"PK\x03\x04nonsense")
    assert "broken DOCX" in rejection(broken).reason


W = "xmlns:w='http://schemas.openxmlformats.org/wordprocessingml/2006/main'"
TABLE_OF_CONTENTS = (
    "<w:sdt><w:sdtPr><w:docPartObj><w:docPartGallery w:val='Table of Contents'/></w:docPartObj>"
    "</w:sdtPr><w:sdtContent><w:p><w:r><w:t>Heading 3</w:t></w:r></w:p></w:sdtContent></w:sdt>"
)
BOX = "<w:r><w:pict><w:txbxContent><w:p>{}</w:p></w:txbxContent></w:pict><w:t>{}</w:t></w:r>"


def run(text: str) -> str:
    return f"<w:r><w:rPr><w:b/></w:rPr><w:t>{text}</w:t></w:r>"


def paragraph(content: str, style: str = "") -> str:
    properties = f"<w:pPr><w:pStyle w:val='{style}'/><w:tabs><w:tab/></w:tabs></w:pPr>"
    return f"<w:p>{properties if style else ''}{content}</w:p>"


def table(*rows: str) -> str:
    return f"<w:tbl><w:tblPr/>{''.join(f'<w:tr>{row}</w:tr>' for row in rows)}</w:tbl>"


def cell(content: str, properties: str = "") -> str:
    return f"<w:tc><w:tcPr>{properties}</w:tcPr>{content}</w:tc>"


def control(content: str) -> str:
    return f"<w:sdt><w:sdtPr/><w:sdtContent>{content}</w:sdtContent></w:sdt>"


def words(*names: str) -> str:
    return "".join(paragraph(run(name)) for name in names)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (control(words("a") + control(words("b")) + table(cell(words("c")))), "a b c"),
        (paragraph(f"{run('a ')}<w:ins>{run('b ')}</w:ins><w:del>{run('no')}</w:del>"), "a b"),
        (paragraph(f"<w:moveFrom>{run('no')}</w:moveFrom><w:moveTo>{run('a')}</w:moveTo>"), "a"),
        (paragraph(f"{control(run('a '))}<w:smartTag>{run('b')}</w:smartTag>{run('c')}"), "a bc"),
        (paragraph(f"<w:hyperlink>{run('a')}</w:hyperlink><w:r><w:tab/><w:t>b</w:t></w:r>"), "a b"),
        (paragraph(BOX.format(run("no"), "a")), "a"),
        (f"<!-- no -->{TABLE_OF_CONTENTS}{words('a')}", "a"),
        (
            table(cell(words("a") + table(cell(words("b")) + cell(words("c"))) + words("d"))),
            "a b c d",
        ),
        (table(cell(words("a"), "<w:gridSpan w:val='3'/>"), cell(words("b")) * 3), "a b b b"),
        (
            table(
                cell(words("a"), "<w:vMerge w:val='restart'/>") + cell(words("b")),
                *(cell(words(""), "<w:vMerge/>") + cell(words(name)) for name in "cd"),
            ),
            "a b c d",
        ),
        (table(control(cell(words("a")))) + f"<w:customXml>{words('b')}</w:customXml>", "a b"),
    ],
)
def test_docx_text_wherever_it_stands(tmp_path: Path, body: str, expected: str) -> None:
    docx_of(tmp_path / "a.docx", body)
    assert squeeze(whole(tmp_path / "a.docx")[1]) == expected


def test_docx_headings_in_content_controls(tmp_path: Path) -> None:
    heading = control(paragraph(run("Head"), "Heading1"))
    docx_of(
        tmp_path / "a.docx", table(cell(paragraph(run("cell"), "Title"))) + heading + words("b")
    )
    assert whole(tmp_path / "a.docx")[0] == "Head"
    (record,) = records(tmp_path / "a.docx")
    assert record.whole is not None
    assert [part.heading for part in record.whole.sections] == ["", "Head", "Head"]


def docx_of(path: Path, body: str) -> None:
    """A Word file with this in its body."""
    docx = pytest.importorskip("docx", reason="the extra 'docx' is not installed")
    from docx.oxml import parse_xml

    document = docx.Document()
    for element in reversed(parse_xml(f"<w:body {W}>{body}</w:body>")):
        document.element.body.insert(0, element)
    document.save(str(path))
