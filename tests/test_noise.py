import random
from collections import Counter

import pytest

from kd_lab import noise
from kd_lab.noise import NEIGHBOURS, NOISE_WORD, TEXT_NOISES, WORD, add_noise

SENTENCE = "This is a sentence."
LONG = " ".join(f"word{i}" for i in range(20_000))
WORDS = ["other", "further"]


def noisy(name: str, sentence: str, p: float, seed: int = 0) -> str:
    return TEXT_NOISES[name](sentence, p, random.Random(seed), WORDS)


@pytest.mark.parametrize("name", TEXT_NOISES)
def test_probability_zero_changes_nothing(name: str) -> None:
    odd = "  Well,  this isn't a well-made film!\t"
    assert noisy(name, odd, 0) == odd


def test_probability_one_replaces_every_word_and_keeps_punctuation() -> None:
    assert (
        add_noise("Well, this isn't  a well-made film!", p=1)
        == "noise_word, noise_word noise_word  noise_word noise_word noise_word!"
    )
    assert set(WORD.findall(noisy("vocabulary", "Well, this isn't!", 1))) <= set(WORDS)


def test_the_example_of_the_slides_can_happen() -> None:
    outcomes = {add_noise(SENTENCE, p=0.2, generator=random.Random(seed)) for seed in range(200)}
    assert "This is a noise_word." in outcomes
    assert SENTENCE in outcomes


@pytest.mark.parametrize("name", ["word", "vocabulary", "typos"])
def test_words_are_changed_as_often_as_asked(name: str) -> None:
    pairs = zip(LONG.split(), noisy(name, LONG, 0.3).split(), strict=True)
    assert sum(was != now for was, now in pairs) / 20_000 == pytest.approx(0.3, abs=0.015)  # four standard errors


def test_words_are_deleted_as_often_as_asked_and_one_always_stays() -> None:
    assert 1 - len(noisy("deletion", LONG, 0.3).split()) / 20_000 == pytest.approx(0.3, abs=0.015)
    left = {noisy("deletion", SENTENCE, 1, seed) for seed in range(50)}
    assert left == {"This .", "is .", "a .", "sentence."}
    assert noisy("deletion", "?!", 1) == "?!"


def test_neighbours_swap_and_no_word_moves_twice() -> None:
    assert noisy("swap", "one, two three four five!", 1) == "two, one four three five!"
    swapped = noisy("swap", LONG, 0.3).split()
    assert sorted(swapped) == sorted(LONG.split())
    moves = [abs(int(word[4:]) - i) for i, word in enumerate(swapped)]
    assert set(moves) == {0, 1}
    # Of words that have not just moved, 3 in 10 swap: p / (1 + p) of all places are the left half of a swap.
    assert sum(moves) / 2 / 20_000 == pytest.approx(0.3 / 1.3, abs=0.015)


def test_a_typo_is_one_neighbouring_key() -> None:
    for seed in range(50):
        was, now = "Wonderful", noisy("typos", "Wonderful", 1, seed)
        ((old, new),) = [(a, b) for a, b in zip(was, now, strict=True) if a != b]
        assert new.lower() in NEIGHBOURS[old.lower()]
        assert old.isupper() == new.isupper()
    assert noisy("typos", "42 über", 1) == "42 " + noisy("typos", "42 über", 1)[3:]
    assert noisy("typos", "素晴らしい", 1) == "素晴らしい"


def test_the_keyboard_is_the_one_on_the_desk() -> None:
    assert {key: set(NEIGHBOURS[key]) for key in "qgpm"} == {
        "q": set("wa"),
        "g": set("fhtyvb"),
        "p": set("ol"),
        "m": set("njk"),
    }
    assert all(key in NEIGHBOURS[other] for key, others in NEIGHBOURS.items() for other in others)


def test_labels_flip_to_every_other_label_as_often_as_asked() -> None:
    draw = random.Random(0)
    flipped = Counter(noise.flip(1, 3, 0.3, draw) for _ in range(20_000))
    assert flipped[1] / 20_000 == pytest.approx(0.7, abs=0.015)
    assert flipped[0] / 20_000 == pytest.approx(0.15, abs=0.012)
    assert (noise.flip(0, 2, 1, draw), noise.flip(1, 2, 1, draw)) == (1, 0)
    assert noise.flip(1, 2, 0, draw) == 1


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
@pytest.mark.parametrize("name", TEXT_NOISES)
def test_a_probability_outside_its_range_is_refused(name: str, p: float) -> None:
    with pytest.raises(ValueError, match="lies in"):
        noisy(name, SENTENCE, p)
    with pytest.raises(ValueError, match="lies in"):
        noise.flip(0, 2, p, random.Random(0))


def test_words_of_other_scripts_count_as_words() -> None:
    assert len(WORD.findall("Ein schöner Film — прекрасный, 素晴らしい!")) == 5
    assert NOISE_WORD in add_noise("прекрасный", 1)


def test_the_vocabulary_is_every_distinct_word_in_order() -> None:
    assert noise.vocabulary(["b a, b!", "A c"]) == ["A", "a", "b", "c"]
