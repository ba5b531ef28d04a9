from __future__ import annotations

from pathlib import Path

import pytest

from search.errors import InputError
from search.evaluate.data import read_files, read_folder, read_qrels
from search.queries import read_queries_with_ids

TOPICS = """
<top>
<num> Number: 301
<title> International
Organized Crime

<desc> Description:
Identify organizations.
</top>
<top><num>302</num><title>Poliomyelitis</title></top>
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def beir(root: Path) -> Path:
    write(root / "queries.jsonl", '{"_id": "1", "text": "a"}\n{"_id": "2", "text": "b"}\n')
    write(root / "qrels" / "test.tsv", "query-id\tcorpus-id\tscore\n1\td 1\t2\n1\td2\t0\n")
    write(root / "qrels_grouped" / "dev.tsv", "query-id\tcorpus-id\tscore\n2\td2\t1\n")
    return root


def test_a_beir_split_has_its_judged_queries_only(tmp_path: Path) -> None:
    task = read_folder(beir(tmp_path / "set"), "test")
    assert task.name == "set"
    assert task.queries == {"1": "a"}
    assert task.qrels == {"1": {"d 1": 2, "d2": 0}}
    assert task.unjudged == 1


def test_a_missing_split_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"qrels/test\.tsv, qrels_grouped/dev\.tsv"):
        read_folder(beir(tmp_path), "train")


def test_trec_and_beir_judgments_read_alike(tmp_path: Path) -> None:
    trec = write(tmp_path / "a.qrels", "1 0 d1 2\n1 Q0 d2 0\n2 0 d1 1\n")
    tsv = write(tmp_path / "a.tsv", "query-id\tcorpus-id\tscore\n1\td1\t2\n1\td2\t0\n2\td1\t1\n")
    assert read_qrels(trec) == read_qrels(tsv) == {"1": {"d1": 2, "d2": 0}, "2": {"d1": 1}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"_id": 7, "text": "x\\ty"}\n', {"7": "x\ty"}),
        ('7\tsay "yes"\n8\tb\n', {"7": 'say "yes"', "8": "b"}),
        (TOPICS, {"301": "International Organized Crime", "302": "Poliomyelitis"}),
    ],
)
def test_queries_in_three_formats(tmp_path: Path, text: str, expected: dict[str, str]) -> None:
    assert read_queries_with_ids(write(tmp_path / "queries", text)) == expected


@pytest.mark.parametrize(
    ("queries", "qrels", "message"),
    [
        ('{"_id": "1", "text": "a"}', "9\td1\t1", "1 judged queries are not in"),
        ('{"_id": "1"}', "1\td1\t1", "queries:1: expected"),
        ('{"_id": "1", "text": "a"}', "1\td1\tgood", "qrels:1: grade 'good'"),
        ('{"_id": "1", "text": "a"}', "1 d1", "qrels:1: found 2 columns"),
        ('{"_id": "1", "text": "a"}', "", "no judgments"),
        ("only text", "1\td1\t1", "queries:1: found 1 columns"),
    ],
)
def test_bad_files_are_named_with_their_line(
    tmp_path: Path, queries: str, qrels: str, message: str
) -> None:
    files = write(tmp_path / "queries", queries), write(tmp_path / "qrels", qrels)
    with pytest.raises(InputError, match=message):
        read_files(*files, "t")


def test_a_sample_is_the_same_for_the_same_seed_and_keeps_the_order(tmp_path: Path) -> None:
    lines = [f'{{"_id": "{i}", "text": "t{i}"}}\n' for i in range(50)]
    queries = write(tmp_path / "q", "".join(lines))
    qrels = write(tmp_path / "r", "".join(f"{i}\td\t1\n" for i in range(50)))
    task = read_files(queries, qrels, "t")
    sample = task.sample(10, seed=3)
    assert len(sample.queries) == len(sample.qrels) == 10
    assert list(sample.queries) == sorted(sample.queries, key=int)
    assert sample == task.sample(10, seed=3)
    assert sample.queries != task.sample(10, seed=4).queries
    assert task.sample(None, 0) is task.sample(50, 0) is task


def test_queries_without_a_relevant_document_are_known(tmp_path: Path) -> None:
    queries = write(tmp_path / "q", "1\ta\n2\tb\n")
    qrels = write(tmp_path / "r", "1\td1\t1\n1\td2\t0\n2\td1\t0\n")
    task = read_files(queries, qrels, "t")
    assert task.without_positive() == ["2"]
    assert task.without_positive(min_grade=2) == ["1", "2"]
