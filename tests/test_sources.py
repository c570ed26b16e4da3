"""Rows from files, and what is said where a file is not what it should be."""

import json
from pathlib import Path

import pytest

from kd_lab import composition, sources
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
    return composition.settings_of(list(words)).data


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


def test_the_bad_line_of_a_glue_file_is_named_as_an_editor_counts_it(tmp_path: Path) -> None:
    folder = glue(tmp_path, "good \t1\n\n\nbad \t7\n", "seen \t1\n")
    with pytest.raises(UserError, match=r"train\.tsv, line 5: label '7'; a line is sentence<TAB>label"):
        sources.load(data("data=sst2", f"data.path={folder}"))


def test_toy_sentences_are_the_same_everywhere() -> None:
    rows = sources.load(data("data=toy", "data.rows=50"))
    assert len(set(rows.texts)) == 50
    assert sources.load(data("data=toy", "data.rows=60")).texts[:50] == rows.texts
    assert 15 < sum(rows.labels) < 35
