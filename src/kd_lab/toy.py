"""Toy sentences and tiny random models, for tests alone: what is learned from them means nothing."""

import itertools
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kd_lab import quiet

SUBJECTS = ["the film", "this movie", "the plot", "her acting", "the script", "their music", "the ending", "this scene"]
PRAISE = ["lovely", "brilliant", "moving", "funny", "sharp", "warm", "clever", "fresh"]
BLAME = ["dull", "clumsy", "tedious", "hollow", "noisy", "stale", "cold", "silly"]
DEGREES = ["really", "quite", "so", "truly", "rather", "always"]
ENDINGS = [".", "!", ", i think.", " from start to end.", " and nothing else."]
LONGEST = 128  # tokens
WRONG = 0.1


def sentences(count: int) -> tuple[list[str], list[int]]:
    """The first ``count`` sentences of the grammar in a fixed shuffled order, with label 1 for praise and 0 for blame.

    One label in ten is wrong, so that no model is perfect and two models differ.
    """
    every = [
        (f"{subject} is {degree} {word}{ending}", label)
        for label, words in enumerate((BLAME, PRAISE))
        for subject, degree, word, ending in itertools.product(SUBJECTS, DEGREES, words, ENDINGS)
    ]
    draw = random.Random("toy")
    draw.shuffle(every)
    chosen = every[:count]
    return [text for text, _ in chosen], [label ^ (draw.random() < WRONG) for _, label in chosen]


def write_checkpoint(config: Mapping[str, Any], folder: Path) -> None:
    """A model folder with random weights and a tokenizer trained on the grammar: WordPiece for BERT's kin, byte-level
    BPE for RoBERTa's.

    Args:
        config: ``model_type`` and that model's own settings.
        folder: made here.
    """
    import torch
    from transformers import AutoConfig, AutoModel

    quiet.transformers()
    text = list(sentences(1000)[0])
    byte_level = config["model_type"] == "roberta"
    tokenizer = _byte_pairs(text) if byte_level else _word_pieces(text)
    positions = {"max_position_embeddings": LONGEST + 2}
    settings = {**positions, "vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, **config}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModel.from_config(AutoConfig.for_model(**settings))  # type: ignore[no-untyped-call]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _word_pieces(text: list[str]) -> Any:
    from transformers import BertTokenizer

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = sorted(
        {word for line in text for word in line.replace(".", " . ").replace(",", " , ").replace("!", " ! ").split()}
    )
    letters = sorted({character for word in words for character in word})
    vocabulary = [*special, *dict.fromkeys([*letters, *(f"##{letter}" for letter in letters), *words])]
    return BertTokenizer(vocab={word: i for i, word in enumerate(vocabulary)}, model_max_length=LONGEST)


def _byte_pairs(text: list[str]) -> Any:
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaTokenizer

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(text, vocab_size=400, special_tokens=special, show_progress=False)
    state = json.loads(trained.to_str())["model"]
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in state["merges"]]
    return RobertaTokenizer(
        vocab=state["vocab"],
        merges=merges,  # type: ignore[arg-type]
        model_max_length=LONGEST,
    )
