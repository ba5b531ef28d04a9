"""Corpus, lists and mining on toy folders, with a bag-of-letters embedder in place of a model."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from search.errors import InputError
from search.types import EmbeddingInfo
from training.corpus import read_set
from training.lists import TrainingList, read_lists, write_lists
from training.mine import Miner, overlap, z_scores
from training.panel import Opinion
from training.queries import Example
from training.recipe import CHECKPOINT, Source, claim, mined

TOPICS = ("gout", "asthma", "migraine", "anaemia", "eczema", "measles", "rabies", "scurvy")
ASPECTS = {
    "prevention": "avoid it by daily walks and good sleep",
    "symptoms": "patients feel pain, fever and fatigue first",
    "treatment": "tablets help within a week when begun early",
    "causes": "genes and diet and smoke bring the illness about",
}


class LetterEmbedder:
    """Counts of letters, made unit length."""

    info = EmbeddingInfo("letters", "1", 26)

    def encode_passages(self, texts: list[str]) -> np.ndarray:
        rows = [[t.lower().count(chr(97 + i)) for i in range(26)] for t in texts]
        counts = np.array(rows, dtype=np.float32) + 0.01
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)

    def encode_query(self, text: str) -> np.ndarray:
        return self.encode_passages([text])[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A BEIR folder: 8 topics × 4 aspects, the last topic only in the test split."""
    root = tmp_path / "toy"
    (root / "qrels").mkdir(parents=True)
    corpus, queries = [], []
    splits: dict[str, list[str]] = {"train": [], "test": []}
    for topic in TOPICS:
        for aspect, text in ASPECTS.items():
            key = f"{topic}-{aspect}"
            corpus.append({"_id": key, "title": topic, "text": f"With {topic}, {text}."})
            queries.append({"_id": f"q-{key}", "text": f"{aspect} of {topic}", "metadata": {}})
            splits["test" if topic == TOPICS[-1] else "train"].append(f"q-{key}\t{key}\t1")
    for name, records in (("corpus", corpus), ("queries", queries)):
        (root / f"{name}.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")
    for split, rows in splits.items():
        header = "query-id\tcorpus-id\tscore\n"
        (root / "qrels" / f"{split}.tsv").write_text(header + "\n".join(rows) + "\n")
    return root


def test_documents_of_another_split_are_left_out(folder: Path) -> None:
    data = read_set(folder, "train", 1000, random.Random(0))
    assert len(data.documents) == 28
    assert not any(i.startswith(TOPICS[-1]) for i in data.documents)


def test_a_corpus_is_thinned_by_whole_topics(folder: Path) -> None:
    data = read_set(folder, "train", 12, random.Random(0))
    titles = [d.title for d in data.documents.values()]
    assert {titles.count(t) for t in titles} == {4}


def test_thinning_keeps_the_documents_that_queries_ask_for(folder: Path) -> None:
    with (folder / "corpus.jsonl").open("a") as file:
        for i in range(200):
            file.write(json.dumps({"_id": f"x{i}", "title": f"other {i}", "text": "no one asks"}))
            file.write("\n")
    data = read_set(folder, "train", 40, random.Random(0))
    assert sum(not i.startswith("x") for i in data.documents) == 28  # all that train judges
    assert len(data.documents) == 40


def test_ids_may_be_numbers(folder: Path) -> None:
    corpus = [json.loads(line) for line in (folder / "corpus.jsonl").read_text().splitlines()]
    number = {record["_id"]: n for n, record in enumerate(corpus)}
    for record in corpus:
        record["_id"] = number[record["_id"]]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, corpus)) + "\n")
    for path in (folder / "qrels").glob("*.tsv"):
        header, *rows = [line.split("\t") for line in path.read_text().splitlines()]
        rows = [[query, str(number[document]), grade] for query, document, grade in rows]
        path.write_text("\n".join(map("\t".join, [header, *rows])) + "\n")
    data = read_set(folder, "train", 1000, random.Random(0))
    assert set(data.documents) == {str(n) for i, n in number.items() if "scurvy" not in i}


def test_what_was_held_out_leaves_no_trace_in_the_corpus(folder: Path) -> None:
    data = read_set(folder, "train", 1000, random.Random(0))
    shared = {**data.qrels, "q-gout-causes": {"gout-causes": 1, "rabies-causes": 1}}
    left = replace(data, qrels=shared).without({"q-gout-causes", "q-asthma-causes"})
    assert data.documents.keys() - left.documents.keys() == {"gout-causes", "asthma-causes"}
    assert data.qrels.keys() - left.qrels.keys() == {"q-gout-causes", "q-asthma-causes"}


def test_a_broken_corpus_line_is_named(folder: Path) -> None:
    with (folder / "corpus.jsonl").open("a") as file:
        file.write('{"_id": "x"}\n')
    with pytest.raises(InputError, match=r"corpus\.jsonl:33: expected an object with _id and text"):
        read_set(folder, "train", 1000, random.Random(0))


def test_a_list_leads_with_the_answer_and_knows_its_siblings(folder: Path, tmp_path: Path) -> None:
    data = read_set(folder, "train", 1000, random.Random(0))
    miner = Miner(data, tmp_path / "toy.db", LetterEmbedder(), random.Random(0))
    miner.fill(lambda line: None)
    example = Example("prevention of gout", "labelled", ("gout-prevention",))
    [one] = miner.lists([example], size=6)
    assert one.passages[0].startswith("gout\nWith gout, avoid it")
    assert len(set(one.passages)) == 6
    assert len(one.scores) == 6
    assert any(passage.startswith("gout\n") for passage in one.passages[1:])
    assert one.scores[0] > min(one.scores)


def test_a_store_of_an_earlier_corpus_is_brought_up_to_date(folder: Path, tmp_path: Path) -> None:
    data = read_set(folder, "train", 1000, random.Random(0))
    Miner(data, tmp_path / "toy.db", LetterEmbedder(), random.Random(0)).fill(lambda line: None)
    fewer = {i: d for i, d in data.documents.items() if not i.startswith("gout")}
    again = replace(data, documents=fewer, qrels={})
    miner = Miner(again, tmp_path / "toy.db", LetterEmbedder(), random.Random(0))
    miner.fill(lambda line: None)
    examples = [Example("causes of gout", "labelled", ("rabies-causes",))] * 5
    for one in miner.lists(examples, size=6):
        assert not any(passage.startswith("gout") for passage in one.passages)


def test_what_holds_the_answer_or_repeats_it_is_no_negative(folder: Path, tmp_path: Path) -> None:
    data = read_set(folder, "train", 1000, random.Random(0))
    miner = Miner(data, tmp_path / "toy.db", LetterEmbedder(), random.Random(0))
    miner.fill(lambda line: None)
    example = Example("what helps asthma", "labelled", ("asthma-treatment",), answers=("tablets",))
    for one in miner.lists([example] * 10, size=6):
        assert not any("tablets" in passage for passage in one.passages[1:])
    assert overlap("the same words here", "here the words same") == 1.0
    assert overlap("nothing shared", "other text") == 0.0


def test_an_answer_that_stands_everywhere_leaves_no_list(folder: Path, tmp_path: Path) -> None:
    data = read_set(folder, "train", 1000, random.Random(0))
    miner = Miner(data, tmp_path / "toy.db", LetterEmbedder(), random.Random(0))
    miner.fill(lambda line: None)
    everywhere = Example("what is it", "labelled", ("gout-causes",), answers=("a",))
    usual = Example("causes of gout", "labelled", ("gout-causes",))
    assert [one.query for one in miner.lists([everywhere, usual], size=6)] == ["causes of gout"]


def test_a_sentence_that_became_the_query_is_gone_from_its_passage(
    folder: Path, tmp_path: Path
) -> None:
    data = read_set(folder, "train", 1000, random.Random(0))
    miner = Miner(data, tmp_path / "toy.db", LetterEmbedder(), random.Random(0))
    miner.fill(lambda line: None)
    cut = "avoid it by daily walks and good sleep"
    [one] = miner.lists([Example(cut, "sentence", ("gout-prevention",), cut, "none")], size=5)
    assert cut not in one.passages[0]
    assert not one.passages[0].startswith("gout\n")


class Oracle(LetterEmbedder):
    """An encoder that finds nothing near but causes; counts the passages it reads."""

    info = EmbeddingInfo("oracle", "1", 2)
    read = 0

    def encode_passages(self, texts: list[str]) -> np.ndarray:
        self.read += len(texts)
        return np.array([[float("genes" in t), float("genes" not in t)] for t in texts])

    def encode_query(self, text: str) -> np.ndarray:
        return np.array([1.0, 0.0])


def test_the_panel_has_its_say_in_the_scores(folder: Path, tmp_path: Path) -> None:
    data = read_set(folder, "train", 1000, random.Random(0))
    oracle = Oracle()
    opinion = Opinion(oracle, "toy", tmp_path)
    lead = []  # of the passages on causes over the others, without the panel and with it
    for panel in ([], [opinion]):
        miner = Miner(data, tmp_path / "toy.db", LetterEmbedder(), random.Random(0), panel)
        miner.fill(lambda line: None)
        [one] = miner.lists([Example("x of gout", "labelled", ("gout-prevention",))], size=8)
        scores = np.array(one.scores)
        causes = np.array(["genes" in passage for passage in one.passages])
        lead.append(scores[causes].mean() - scores[~causes].mean())
    assert lead[1] > lead[0] + 0.5
    read = oracle.read
    Opinion(oracle, "toy", tmp_path).fill(list(data.documents.values()), lambda line: None)
    assert oracle.read == read  # taken from disk
    Opinion(oracle, "toy", tmp_path).fill(list(data.documents.values())[1:], lambda line: None)
    assert oracle.read == 2 * read - 1  # another corpus: nothing may be taken over


def test_mining_is_kept_and_holds_out_queries_without_a_dev_split(
    folder: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    said: list[str] = []
    sources = [Source(folder, 30)]
    first = mined(sources, "train", 5, 1, work, LetterEmbedder(), said.append)
    held = (work / "toy.dev.tsv").read_text().splitlines()[1:]
    assert len(held) == 5  # a fifth of 28
    again = mined(sources, "train", 5, 1, work, LetterEmbedder(), said.append)
    assert again == first
    assert "using the lists mined before" in said[-1]
    (work / CHECKPOINT).write_text("trained on these lists")
    (work / "lists.jsonl").unlink()
    assert mined(sources, "train", 5, 1, work, LetterEmbedder(), said.append) == first
    assert not (work / CHECKPOINT).exists()


def test_two_folders_of_one_name_are_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "toy"
    with pytest.raises(InputError, match="must differ in name, which stores go by: toy, toy"):
        mined(
            [Source(folder, 5), Source(other, 5)], "train", 5, 1, tmp_path, LetterEmbedder(), print
        )


def test_too_small_a_corpus_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="found 23 documents to train on; lists of 8 passages need at least 32"
    ):
        mined([Source(folder, 5)], "train", 8, 1, tmp_path, LetterEmbedder(), print)


def test_lists_survive_a_round_trip(tmp_path: Path) -> None:
    lists = [TrainingList("wie geht’s?", "labelled", ("a\nb", "ü"), (0.5, -1.25))]
    write_lists(lists, tmp_path / "lists.jsonl")
    assert read_lists(tmp_path / "lists.jsonl") == lists
    (tmp_path / "bad.jsonl").write_text('{"query": "x"}\n')
    with pytest.raises(InputError, match=r"bad\.jsonl:1: not a training list"):
        read_lists(tmp_path / "bad.jsonl")


def test_z_scores_of_equal_values_are_zero() -> None:
    assert z_scores([2.0, 2.0]).tolist() == [0.0, 0.0]
    assert z_scores([1.0, 3.0]).tolist() == [-1.0, 1.0]


def test_work_files_serve_only_the_arguments_that_made_them(tmp_path: Path) -> None:
    first = {"data": ["a=10", "b=20"], "seed": 1}
    claim(tmp_path, first)
    claim(tmp_path, dict(first))
    with pytest.raises(InputError, match=r"other arguments \(data: \['a=10', 'b=20'\] there"):
        claim(tmp_path, first | {"data": ["a=10"]})
    claim(tmp_path, first)


def test_work_files_of_unknown_arguments_are_refused(tmp_path: Path) -> None:
    (tmp_path / "lists.jsonl").write_text("")
    with pytest.raises(InputError, match="unknown arguments"):
        claim(tmp_path, {"seed": 1})
