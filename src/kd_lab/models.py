"""Students and teachers: classifiers that take their own tokenizer's encoding out of a batch."""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from kd_lab import excerpt, quiet
from kd_lab.catalogue import Checkpoint
from kd_lab.dropout import use_quick_dropout
from kd_lab.encoding import Batch, Encoder
from kd_lab.errors import UserError
from kd_lab.settings import LONGEST


class Classifier(nn.Module):
    """A transformer with a classification head, and the tokenizer it was trained with.

    Args:
        name: what people call it.
        model: of transformers.
        encoder: its tokenizer.
    """

    def __init__(self, name: str, model: Any, encoder: Encoder):
        super().__init__()
        self.name, self.model, self.encoder = name, model, encoder
        if hasattr(model, "score"):  # decoders answer at the last token that is no padding
            model.config.pad_token_id = encoder.tokenizer.pad_token_id
        # GPT-2's kin would take token types for words.
        self.takes = frozenset(inspect.signature(model.forward).parameters) & {*encoder.tokenizer.model_input_names}

    def forward(self, batch: Batch) -> Tensor:
        """Logits [B, C]."""
        encoding = batch.inputs[self.encoder.key]
        logits: Tensor = self.model(**{name: tensor for name, tensor in encoding.items() if name in self.takes}).logits
        return logits

    @contextmanager
    def excerpt(self, *batches: Batch) -> Iterator[None]:
        """Within, the model knows only the tokens of ``batches``: see :mod:`kd_lab.excerpt`."""
        matrix = self.model.get_input_embeddings()
        ids = [batch.inputs[self.encoder.key]["input_ids"] for batch in batches]
        with matrix.only(ids) if isinstance(matrix, excerpt.Embedding) else nullcontext():
            yield

    @property
    def rows_in_use(self) -> Tensor | None:
        """The rows of the embedding matrix that :meth:`excerpt` has left, in order; None outside of it."""
        matrix = self.model.get_input_embeddings()
        return matrix.tokens if isinstance(matrix, excerpt.Embedding) else None

    def count_parameters(self) -> int:
        """All weights and biases, embeddings and head included."""
        return sum(parameter.numel() for parameter in self.parameters())

    def save(self, folder: Path) -> None:
        """A folder that transformers.pipeline("text-classification", folder) loads.

        Raises:
            OSError: if it cannot be written whole.
        """
        # How the last text happened to be cut is no part of it.
        self.encoder.tokenizer.backend_tokenizer.no_truncation()
        self.encoder.tokenizer.backend_tokenizer.no_padding()
        try:
            self.model.save_pretrained(folder)
            self.encoder.tokenizer.save_pretrained(folder)
        except SafetensorError as error:
            raise OSError(f"{folder} cannot be written: {error}") from error


class TeacherEnsemble(nn.Module):
    """Teachers whose logits are averaged, or weighted by a loss that asks for each one's.

    Args:
        members: any number, each with its own tokenizer.
    """

    places: Tensor | None
    remembered: Tensor | None

    def __init__(self, members: Sequence[Classifier]):
        super().__init__()
        self.members = nn.ModuleList(members)
        self.register_buffer("places", None, persistent=False)
        self.register_buffer("remembered", None, persistent=False)

    def remember(self, rows: Sequence[int], logits: Tensor) -> None:
        """Answer the N ``rows`` with ``logits``, [K, N, C], from now on, instead of working them out."""
        self.places = torch.full((max(rows) + 1,), -1)
        self.places[list(rows)] = torch.arange(len(rows))
        self.remembered = logits

    @contextmanager
    def excerpt(self, *batches: Batch) -> Iterator[None]:
        """Within, each member knows only the tokens it sees of ``batches``."""
        with ExitStack() as stack:
            for member in self:
                stack.enter_context(member.excerpt(*(batch.for_teachers() for batch in batches)))
            yield

    def member_logits(self, batch: Batch) -> Tensor:
        """The logits of each of the K members, [K, B, C]."""
        if self.places is not None and self.remembered is not None and int(batch.rows.max()) < len(self.places):
            places = self.places[batch.rows]
            if (places >= 0).all():
                return self.remembered[:, places]
        seen = batch.for_teachers()
        return torch.stack([member(seen) for member in self])

    def forward(self, batch: Batch) -> Tensor:
        """The mean logits, [B, C]."""
        return self.member_logits(batch).mean(dim=0)

    def __iter__(self) -> Iterator[Classifier]:
        return iter(self.members)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.members)


def load(checkpoint: Checkpoint, label_names: Sequence[str], max_length: int, *, trained: bool = False) -> Classifier:
    """The classifier of a checkpoint; a head it lacks is drawn from torch's random state.

    Args:
        checkpoint: where it lies.
        label_names: of the C labels, in order.
        max_length: in tokens.
        trained: refuse a checkpoint whose head or body is not wholly there, or whose labels are in another order.

    Raises:
        UserError: if the folder does not hold such a model.
    """
    quiet.transformers()
    options: dict[str, Any] = {"num_hidden_layers": checkpoint.layers} if checkpoint.layers else {}
    try:
        config = AutoConfig.from_pretrained(checkpoint.folder, trust_remote_code=False, **options)
        own = _rename_labels(config, label_names)
        model, info = AutoModelForSequenceClassification.from_pretrained(
            checkpoint.folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        tokenizer = _tokenizer(checkpoint.folder, config.vocab_size)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{checkpoint.name}: {checkpoint.folder} holds no model that fits: {reason}") from error
    if trained:
        _refuse_another_order(checkpoint, own, label_names)
    missing = sorted(info["missing_keys"])
    allowed = () if trained else ("classifier.", "pre_classifier.", "score.", "pooler.")
    if unexpected := [key for key in missing if not any(part in f"{key}." for part in allowed)]:
        raise UserError(
            f"{checkpoint.name}: {checkpoint.folder} lacks the weights {', '.join(unexpected[:3])} of its model"
        )
    use_quick_dropout(model)
    excerpt.enable(model)
    return Classifier(checkpoint.name, model.train(), Encoder(tokenizer, min(max_length, _positions(config))))


def _rename_labels(config: Any, names: Sequence[str]) -> list[str]:
    """What the labels were called, in order."""
    before = [str(config.id2label[number]) for number in sorted(config.id2label)]
    config.id2label, config.label2id = dict(enumerate(names)), {name: number for number, name in enumerate(names)}
    config.problem_type = "single_label_classification"
    return before


def _refuse_another_order(checkpoint: Checkpoint, own: Sequence[str], wanted: Sequence[str]) -> None:
    """It would be read wrongly, and where that is still right oftener than chance nothing would show it."""
    plain, other = ([name.casefold() for name in names] for names in (own, wanted))
    if plain != other and sorted(plain) == sorted(other):
        raise UserError(
            f"{checkpoint.name} numbers its labels {', '.join(own)}, the data {', '.join(wanted)}: put the rows of its "
            "classifier and its id2label into the data's order, or choose another"
        )


def _tokenizer(folder: Path, vocabulary: int) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if not tokenizer.is_fast or tokenizer.pad_token_id is None:
        raise ValueError("its tokenizer is not a fast one with a padding token")
    if len(tokenizer) > vocabulary:
        raise ValueError(f"its tokenizer knows {len(tokenizer)} tokens, the model {vocabulary}")
    return tokenizer


def _positions(config: Any) -> int:
    """The longest input of the model, in tokens; RoBERTa's kin begin to count after the padding's number."""
    positions = int(getattr(config, "max_position_embeddings", None) or LONGEST)
    return positions - config.pad_token_id - 1 if "roberta" in config.model_type else positions
