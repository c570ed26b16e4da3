"""Rows from files, and what is said where a file is not what it should be."""

import json
from pathlib import Path

import pytest

from kd_lab import settings, sources
from kd_lab.errors import UserError
from kd_lab.settings import Data

TABLE = [
    ("a fine film", "None"),
    ("NA", "good"),
    ('dull, and "long"', "bad"),
    ("très émouvant ☺", "good"),
    ("no", "bad"),
]


def data(*words: str) -> Data:
    return settings.check(settings.compose(list(words))).data


def write(folder: Path, ending: str) -> Path:
    path = folder / f"rows.{ending}"
    if ending == "jsonl":
        path.write_text("".join(json.dumps({"text": t, "label": label}) + "\n" for t, label in TABLE), encoding="utf-8")
    elif ending == "parquet":
        from datasets import Dataset

        Dataset.from_dict({"text": [t for t, _ in TABLE], "label": [label for _, label in TABLE]}).to_parquet(str(path))
    else:
        separator = "\t" if ending == "tsv" else ","
        quoted = [(f'"{t.replace(chr(34), chr(34) * 2)}"', label) for t, label in TABLE]
        path.write_text("\n".join(separator.join(row) for row in [("text", "label"), *quoted]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_a_users_own_file_in_every_format(ending: str, tmp_path: Path) -> None:
    rows = sources.load(data("data=files", f"data.path={write(tmp_path, ending)}"))
    assert list(zip(rows.texts, [rows.label_names[i] for i in rows.labels], strict=True)) == TABLE
    assert rows.label_names == ("None", "bad", "good")


def test_rows_without_a_text_or_a_label_are_left_out_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\na,1\n,0\nb,\n  ,1\nc,0\n", encoding="utf-8")
    rows = sources.load(data("data=files", f"data.path={path}"))
    assert (list(rows.texts), rows.label_names, rows.empty) == (["a", "c"], ("0", "1"), 3)


def test_numbers_as_labels_keep_their_order(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("sentence,stars\n" + "".join(f"t{i},{i % 11}\n" for i in range(44)), encoding="utf-8")
    rows = sources.load(data("data=files", f"data.path={path}", "data.text=sentence", "data.label=stars"))
    assert rows.label_names == tuple(str(i) for i in range(11))


@pytest.mark.parametrize(
    ("content", "words", "said"),
    [
        (
            b"text,label\na,0\nb,1\n",
            ["data.label=stars"],
            r"data\.label=stars: rows\.csv has no such column; it has text, label",
        ),
        (b"text,label\na,0\nb,0\n", [], "has the one label"),
        (b"text,label\n\xff\xfe,0\nb,1\n", [], "cannot be read as UTF-8"),
        (b"text,label\n" + b"".join(b"t%d,%d\n" % (i, i) for i in range(50)), [], "50 labels on 50 rows"),
    ],
)
def test_a_file_that_is_not_what_it_should_be(content: bytes, words: list[str], said: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said):
        sources.load(data("data=files", f"data.path={path}", *words))


@pytest.mark.parametrize(
    ("name", "said"), [("nowhere.csv", "there is no such file"), ("rows.xlsx", "cannot read .xlsx; choose one of .csv")]
)
def test_a_file_that_cannot_be_read(name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "rows.xlsx").write_bytes(b"")
    with pytest.raises(UserError, match=said):
        sources.load(data("data=files", f"data.path={tmp_path / name}"))


def glue(folder: Path, train: str = "", dev: str = "") -> Path:
    (folder / "train.tsv").write_text(f"sentence\tlabel\n{train}", encoding="utf-8")
    (folder / "dev.tsv").write_text(f"sentence\tlabel\n{dev}", encoding="utf-8")
    return folder


def test_glues_files_are_read_with_their_quotation_marks_and_dev_set_apart(tmp_path: Path) -> None:
    folder = glue(tmp_path, "`` a film '' with \" \t1\nso-so \t0\n", "seen \t1\n")
    rows = sources.load(data("data=sst2", f"data.path={folder}"))
    assert list(rows.texts) == ["`` a film '' with \" ", "so-so ", "seen "]
    assert rows.labels == [1, 0, 1]
    assert rows.validation == range(2, 3)


@pytest.mark.parametrize(
    ("train", "said"), [("good\t2\n", r"train\.tsv, line 2: label '2'"), ("good 1\n", r"line 2: label None")]
)
def test_glues_files_with_something_else_in_them(train: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        sources.load(data("data=sst2", f"data.path={glue(tmp_path, train)}"))


def test_a_folder_without_glues_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.tsv cannot be read .*: data\.path must be a folder with GLUE's"):
        sources.load(data("data=sst2", f"data.path={tmp_path}"))


def test_toy_sentences_are_the_same_everywhere() -> None:
    rows = sources.load(data("data=toy", "data.rows=50"))
    assert len(set(rows.texts)) == 50
    assert sources.load(data("data=toy", "data.rows=60")).texts[:50] == rows.texts
    assert 15 < sum(rows.labels) < 35
