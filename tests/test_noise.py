import random

import pytest

from kd_lab.noise import NOISE_WORD, WORD, add_noise, generator_of

SENTENCE = "This is a sentence."


def test_probability_zero_changes_nothing() -> None:
    assert add_noise(SENTENCE, p=0) == SENTENCE


def test_probability_one_replaces_every_word_and_keeps_punctuation() -> None:
    assert (
        add_noise("Well, this isn't  a well-made film!", p=1)
        == "noise_word, noise_word noise_word  noise_word noise_word noise_word!"
    )


def test_the_example_of_the_slides_can_happen() -> None:
    outcomes = {add_noise(SENTENCE, p=0.2, generator=random.Random(seed)) for seed in range(200)}
    assert "This is a noise_word." in outcomes
    assert SENTENCE in outcomes


def test_words_are_replaced_as_often_as_asked() -> None:
    noisy = add_noise("word " * 20_000, p=0.3, generator=random.Random(0))
    assert noisy.count(NOISE_WORD) / 20_000 == pytest.approx(0.3, abs=0.015)  # four standard errors


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_a_probability_outside_its_range_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="lies in"):
        add_noise(SENTENCE, p=p)


def test_draws_are_a_function_of_seed_epoch_and_row() -> None:
    text = "one two three four five six seven eight nine ten eleven twelve"

    def draw(*key: int) -> str:
        return add_noise(text, p=0.5, generator=generator_of(*key))

    assert draw(0, 1, 2) == draw(0, 1, 2)
    assert len({draw(0, 1, 2), draw(1, 1, 2), draw(0, 2, 2), draw(0, 1, 3)}) == 4


def test_words_of_other_scripts_count_as_words() -> None:
    assert len(WORD.findall("Ein schöner Film — прекрасный, 素晴らしい!")) == 5
