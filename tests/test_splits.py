import random

import pytest

from kd_lab.errors import UserError
from kd_lab.splits import Splits, containing_roots, cut, normal

SIZES = {"train": 0.8, "quiz": 0.02, "validation": 0.08, "test": 0.1}


def treebank(sentences: int = 60, seed: int = 0) -> tuple[list[str], list[int]]:
    """Made-up sentences and the phrases cut from them, as SST-2's train file has them; some phrases are shared."""
    draw = random.Random(seed)
    words = [f"w{i}" for i in range(400)]
    texts = []
    for _ in range(sentences):
        sentence = draw.choices(words, k=draw.randint(8, 16))
        texts.append(" ".join(sentence))
        for _ in range(6):
            start, length = draw.randrange(len(sentence) - 2), draw.randint(1, 6)
            texts.append(" ".join(sentence[start : start + length]))
    texts = list(dict.fromkeys(texts))
    return texts, [draw.randint(0, 1) for _ in texts]


def contains(longer: str, shorter: str) -> bool:
    return f" {shorter} " in f" {longer} "


def test_every_text_knows_the_roots_around_it() -> None:
    texts, _ = treebank()
    inside = containing_roots(tuple(texts))
    roots = [text for text in texts if not any(contains(other, text) for other in texts if other != text)]
    assert [text for text, around in inside.items() if around == [text]] == roots
    for text in texts:
        assert set(inside[text]) == {root for root in roots if contains(root, text)}


@pytest.mark.parametrize("seed", range(5))
def test_by_sentence_no_train_text_stands_inside_a_held_out_one_or_the_reverse(seed: int) -> None:
    texts, labels = treebank(seed=seed)
    splits = cut(texts, labels, {"train": 60, "quiz": 5, "validation": 5, "test": 8}, "sentence", seed)
    assert [len(rows) for _, rows in splits.items()] == [60, 5, 5, 8]
    for held_out in (splits.test, splits.quiz, splits.validation):
        for row in held_out:
            assert not any(contains(texts[row], texts[t]) or contains(texts[t], texts[row]) for t in splits.train)


def test_a_text_is_in_every_root_that_holds_it_as_words() -> None:
    draw = random.Random(0)
    roots = [" ".join(draw.choices("abcd", k=draw.randint(1, 30))) for _ in range(60)]
    parts = [" ".join(root.split()[start : start + draw.randint(1, 8)]) for root in roots for start in (0, 3)]
    texts = list(dict.fromkeys(part for part in [*roots, *parts] if part))
    inside = containing_roots(tuple(texts))
    for text in texts:
        around = [other for other in texts if other != text and f" {text} " in f" {other} "]
        held = [root for root in texts if inside[root] == [root] and f" {text} " in f" {root} "]
        assert (inside[text] == [text]) == (not around)
        assert sorted(inside[text]) == sorted(held)


def test_a_random_cut_would_not_hold_that() -> None:
    texts, labels = treebank()
    splits = cut(texts, labels, {"train": 60, "quiz": 5, "validation": 5, "test": 8}, "row", 0)
    assert any(
        contains(texts[t], texts[row]) or contains(texts[row], texts[t]) for row in splits.test for t in splits.train
    )


@pytest.mark.parametrize("holdout", ["row", "sentence"])
def test_no_normal_text_stands_in_two_splits_or_twice(holdout: str) -> None:
    texts, labels = treebank()
    texts, labels = texts + [f" {text.upper()}  " for text in texts], labels * 2
    splits = cut(texts, labels, {"train": 50, "quiz": 5, "validation": 5, "test": 8}, holdout, 0)
    used = [normal(texts[row]) for _, rows in splits.items() for row in rows]
    assert len(used) == len(set(used)) == 68
    assert splits.dropped["repeated"] == len(texts) // 2


def test_rows_with_both_labels_are_dropped_and_counted() -> None:
    texts = [*(f"text {i}" for i in range(100)), "TEXT  7", "text 8"]
    labels = [i % 2 for i in range(100)] + [0, 0]  # text 7 has label 1 above, text 8 has 0
    splits = cut(texts, labels, SIZES, "row", 0)
    used = {normal(texts[row]) for _, rows in splits.items() for row in rows}
    assert "text 7" not in used
    assert splits.dropped["both labels"] == 2
    assert splits.dropped["repeated"] == 1


def test_every_row_is_used_or_accounted_for() -> None:
    texts, labels = treebank()
    texts, labels = [*texts, texts[0], texts[1]], [*labels, labels[0], 1 - labels[1]]
    splits = cut(texts, labels, SIZES, "row", 0)
    assert sum(len(rows) for _, rows in splits.items()) + sum(splits.dropped.values()) == len(texts)


def test_the_data_seed_decides_and_the_size_of_train_changes_no_other_split() -> None:
    texts, labels = treebank()

    def make(seed: int, train: int) -> Splits:
        return cut(texts, labels, {"train": train, "quiz": 5, "validation": 5, "test": 8}, "row", seed)

    assert make(0, 50) == make(0, 50)
    assert make(0, 50).test != make(1, 50).test
    small, large = make(0, 50), make(0, 100)
    assert (small.test, small.quiz, small.validation) == (large.test, large.quiz, large.validation)


def test_a_validation_set_apart_is_used_and_its_texts_are_nowhere_else() -> None:
    texts = [*(f"text {i}" for i in range(100)), "Text 3", "new 1", "new 2"]
    labels = [0] * 103
    splits = cut(texts, labels, {"train": 50, "quiz": 5, "validation": 3, "test": 8}, "row", 0, range(100, 103))
    assert set(splits.validation) == {100, 101, 102}
    assert 3 not in {*splits.train, *splits.quiz, *splits.test}


@pytest.mark.parametrize("holdout", ["row", "sentence"])
def test_too_much_is_refused_with_what_there_is(holdout: str) -> None:
    texts, labels = treebank()
    with pytest.raises(UserError, match=r"data\.train=100000 is more than there is: at most \d+ texts"):
        cut(texts, labels, {"train": 100_000, "quiz": 5, "validation": 5, "test": 8}, holdout, 0)


def test_a_share_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(UserError, match=r"data\.quiz=0\.02 leaves no row of 10"):
        cut([f"t{i}" for i in range(10)], [0, 1] * 5, SIZES, "row", 0)
