"""From sentences to padded tensors: each distinct tokenizer encodes a text once, whoever shares it."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

Encoding = dict[str, Tensor]
"""One text's, [L] each, or one batch's, [B, L] each: input_ids, attention_mask, token_type_ids."""


@dataclass
class Batch:
    """What every model of a run gets; each takes its own tokenizer's encoding.

    Attributes:
        rows: [B], the row numbers in the source.
        labels: [B].
        inputs: tokenizer key -> input_ids, attention_mask and token_type_ids, [B, L] each; L differs by tokenizer.
        clean: the same without noise, where the teachers see the sentences without it; else empty.
    """

    rows: Tensor
    labels: Tensor
    inputs: dict[str, Encoding]
    clean: dict[str, Encoding] = field(default_factory=dict)

    def for_teachers(self) -> "Batch":
        """The batch as the teachers see it."""
        return replace(self, inputs=self.clean) if self.clean else self


class Encoder:
    """A tokenizer with a length limit.

    Args:
        tokenizer: of transformers.
        max_length: tokens, special ones included; the tokenizer's own smaller limit goes before it.

    Attributes:
        key: the same for two tokenizers that turn every text into the same ids.
    """

    def __init__(self, tokenizer: Any, max_length: int):
        self.tokenizer = tokenizer
        self.max_length = min(max_length, tokenizer.model_max_length)
        self.key = _key(tokenizer)

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """One unpadded encoding per text."""
        if not texts:
            return []
        table = self.tokenizer(list(texts), truncation=True, max_length=self.max_length, return_token_type_ids=True)
        return [{name: torch.tensor(table[name][i]) for name in table} for i in range(len(texts))]

    def pad(self, encodings: Sequence[Encoding]) -> Encoding:
        """A batch, padded to its longest row."""
        fill = {"input_ids": self.tokenizer.pad_token_id, "token_type_ids": self.tokenizer.pad_token_type_id}
        side = self.tokenizer.padding_side
        return {
            name: pad_sequence([row[name] for row in encodings], True, fill.get(name, 0), side) for name in encodings[0]
        }


def _key(tokenizer: Any) -> str:
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    # How a file was last padded or cut says nothing about its ids.
    state = {name: part for name, part in state.items() if name not in {"truncation", "padding"}}
    state["pad"] = [tokenizer.pad_token_id, tokenizer.pad_token_type_id, tokenizer.padding_side]
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:16]
