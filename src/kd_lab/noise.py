"""Noise injected into training sentences and labels. Every draw is a function of (seed, epoch, row)."""

import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

NOISE_WORD = "noise_word"
WORD = re.compile(r"\w+(?:[-'’]\w+)*")
KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")  # each row of keys lies half a key to the right of the one above


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
    return _each_word(sentence, p, generator or random.Random(), lambda word: NOISE_WORD)


def replace_by_vocabulary(sentence: str, p: float, generator: random.Random, words: Sequence[str]) -> str:
    """Replace each word with probability ``p`` by one of ``words``, all equally likely."""
    return _each_word(sentence, p, generator, lambda word: generator.choice(words))


def delete(sentence: str, p: float, generator: random.Random) -> str:
    """Delete each word with probability ``p``; where none would stay, one at random does.

    Random deletion of Wei and Zou, *EDA*, EMNLP 2019, arXiv 1901.11196.
    """
    _probability(p)
    spans = [word.span() for word in WORD.finditer(sentence)]
    gone = [span for span in spans if generator.random() < p]
    if gone and len(gone) == len(spans):
        gone.remove(generator.choice(gone))
    for start, end in reversed(gone):
        sentence = sentence[:start] + sentence[end:]
    return " ".join(sentence.split()) if gone else sentence


def swap(sentence: str, p: float, generator: random.Random) -> str:
    """Exchange each word with probability ``p`` with the one after it; no word moves twice."""
    _probability(p)
    words = WORD.findall(sentence)
    at = 0
    while at + 1 < len(words):
        if generator.random() < p:
            words[at], words[at + 1] = words[at + 1], words[at]
            at += 1
        at += 1
    moved = iter(words)
    return WORD.sub(lambda word: next(moved), sentence)


def mistype(sentence: str, p: float, generator: random.Random) -> str:
    """Give each word with probability ``p`` one typo: a letter replaced by its neighbour on a QWERTY keyboard.

    The noise "Key" of Belinkov and Bisk, ICLR 2018, arXiv 1711.02173. Words without a letter of that keyboard stay.
    """
    return _each_word(sentence, p, generator, lambda word: _typo(word, generator))


def flip(label: int, classes: int, p: float, generator: random.Random) -> int:
    """With probability ``p`` another of ``classes`` labels than ``label``, all equally likely.

    Raises:
        ValueError: if ``p`` lies outside [0, 1].
    """
    _probability(p)
    return (label + generator.randrange(1, classes)) % classes if generator.random() < p else label


TextNoise = Callable[[str, float, random.Random, Sequence[str]], str]

TEXT_NOISES: dict[str, TextNoise] = {
    "word": lambda sentence, p, generator, words: add_noise(sentence, p, generator),
    "vocabulary": replace_by_vocabulary,
    "deletion": lambda sentence, p, generator, words: delete(sentence, p, generator),
    "swap": lambda sentence, p, generator, words: swap(sentence, p, generator),
    "typos": lambda sentence, p, generator, words: mistype(sentence, p, generator),
}
"""What can be done to a sentence, with probability p per word; the last argument is the training vocabulary."""


LABELS = "labels"


@dataclass(frozen=True)
class Noise:
    """One kind of noise on the rows of one split.

    Attributes:
        name: of ``TEXT_NOISES``, ``labels``, or ``none``.
        p: probability in [0, 1], per word or per label.
        seed: of all draws.
        words: the training vocabulary.
    """

    name: str = "none"
    p: float = 0.0
    seed: int = 0
    words: Sequence[str] = ()

    @property
    def changes_text(self) -> bool:
        """Whether a sentence may differ from epoch to epoch."""
        return self.name in TEXT_NOISES and self.p > 0

    def sentence(self, text: str, epoch: int, row: int) -> str:
        """What row ``row`` reads in ``epoch``."""
        return TEXT_NOISES[self.name](text, self.p, generator_of(self.seed, epoch, row), self.words)

    def label(self, label: int, classes: int, row: int) -> int:
        """The label of row ``row``, the same in every epoch, as wrong labels in real data are."""
        if self.name != LABELS:
            return label
        return flip(label, classes, self.p, generator_of(LABELS, self.seed, row))


def vocabulary(sentences: Iterable[str]) -> list[str]:
    """The distinct words of ``sentences`` in alphabetical order."""
    return sorted({word for sentence in sentences for word in WORD.findall(sentence)})


def generator_of(*key: int | str) -> random.Random:
    """The source of all random draws for what ``key`` names, such as (seed, epoch, row): the same on every machine."""
    return random.Random("/".join(map(str, key)))


def _probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"p={p}: a probability lies in [0, 1]")


def _each_word(sentence: str, p: float, generator: random.Random, change: Callable[[str], str]) -> str:
    _probability(p)
    return WORD.sub(lambda word: change(word.group()) if generator.random() < p else word.group(), sentence)


def _typo(word: str, generator: random.Random) -> str:
    letters = [i for i, character in enumerate(word) if character.lower() in NEIGHBOURS]
    if not letters:
        return word
    at = generator.choice(letters)
    typed = generator.choice(NEIGHBOURS[word[at].lower()])
    return word[:at] + (typed.upper() if word[at].isupper() else typed) + word[at + 1 :]


def _neighbours() -> dict[str, str]:
    place = {key: (row, column) for row, keys in enumerate(KEYS) for column, key in enumerate(keys)}
    touching = {(0, -1), (0, 1), (-1, 0), (-1, 1), (1, 0), (1, -1)}
    return {
        key: "".join(other for other, (r, c) in place.items() if (r - row, c - column) in touching)
        for key, (row, column) in place.items()
    }


NEIGHBOURS = _neighbours()
"""The letters around each letter of the keyboard."""
