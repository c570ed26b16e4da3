"""Noise injected into training sentences. Every draw is a function of (seed, epoch, row)."""

import random
import re
from collections.abc import Callable

NOISE_WORD = "noise_word"
WORD = re.compile(r"\w+(?:[-'’]\w+)*")


def add_noise(sentence: str, p: float = 0.2, generator: random.Random | None = None) -> str:
    """Replace each word of ``sentence`` by the noise word with probability ``p``; punctuation and spaces stay.

    ``add_noise("This is a sentence.", p=0.2)`` may give ``"This is a noise_word."``.

    Args:
        sentence: any text.
        p: probability in [0, 1]; 0 changes nothing, 1 replaces every word.
        generator: where the draws come from; without one they differ from call to call.

    Raises:
        ValueError: if ``p`` lies outside [0, 1].
    """
    if not 0 <= p <= 1:
        raise ValueError(f"p={p}: a probability lies in [0, 1]")
    draw = (generator or random.Random()).random
    return WORD.sub(lambda word: NOISE_WORD if draw() < p else word.group(), sentence)


Noise = Callable[[str, float, random.Random], str]

NOISES: dict[str, Noise] = {"none": lambda sentence, p, generator: sentence, "word": add_noise}


def generator_of(seed: int, epoch: int, row: int) -> random.Random:
    """The source of all random draws for one row in one epoch, the same in every process and on every machine."""
    return random.Random(f"{seed}/{epoch}/{row}")
