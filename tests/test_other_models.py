"""Models that are no kin of BERT, beside transformers itself: what they take for padding, for types and for a limit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from kd_lab import catalogue, models, precision, toy
from kd_lab.data import TextDataModule
from kd_lab.encoding import Batch
from kd_lab.errors import UserError
from kd_lab.models import Classifier, TeacherEnsemble

LABELS = ("negative", "positive")
SHORT, LONG = toy.sentences(1)[0][0], " ".join(toy.sentences(12)[0])
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
Folder = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A trained-looking folder of a random model, with a tokenizer of toy sentences."""

    def make(kind: str, tokenizer: Any = None, **config: Any) -> Path:
        tokenizer = tokenizer or toy._byte_pairs(toy.sentences(1000)[0])
        known = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, "num_labels": 2, **config}
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_config(  # type: ignore[no-untyped-call]
            AutoConfig.for_model(kind, **known)
        )
        with torch.no_grad():
            model.get_input_embeddings().weight.mul_(20)  # so that a word more or less is seen
        model.save_pretrained(tmp_path / kind)
        tokenizer.save_pretrained(tmp_path / kind)
        return tmp_path / kind

    return make


def load(folder: Path, max_length: int = 128) -> Classifier:
    checkpoint = catalogue.Checkpoint(folder.name, folder, classifies=True)
    return models.load(checkpoint, LABELS, max_length, trained=True).eval()


def answers(model: Classifier, *texts: str) -> Tensor:
    rows = torch.arange(len(texts))
    batch = Batch(rows, rows, {model.encoder.key: model.encoder.pad(model.encoder.encode(texts))})
    with torch.no_grad(), model.excerpt(batch):
        logits: Tensor = model(batch)
    return logits


def wanted(folder: Path, *texts: str) -> Tensor:
    """Of transformers, one text at a time: without padding."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        return torch.cat([model(**tokenizer(text, return_tensors="pt")).logits for text in texts])


@pytest.mark.parametrize(
    ("kind", "side", "config"),
    [
        ("gpt2", "right", {"n_embd": 32, "n_layer": 2, "n_head": 2}),
        ("qwen2", "right", {**SMALL, "num_key_value_heads": 2, "pad_token_id": None}),
        ("qwen2", "left", {**SMALL, "num_key_value_heads": 1, "pad_token_id": None}),
        ("llama", "right", {**SMALL, "num_key_value_heads": 2, "pad_token_id": 7}),
        ("llama", "left", {**SMALL, "num_key_value_heads": 2, "pad_token_id": 7}),
        ("modernbert", "right", {**SMALL, "local_attention": 8, "global_attn_every_n_layers": 2}),
        ("electra", "right", {**SMALL, "embedding_size": 32}),
    ],
)
@pytest.mark.parametrize("products", ["float32", "bf16-matmul"])
def test_a_batch_has_the_answers_of_transformers(
    kind: str, side: str, config: dict[str, Any], products: Any, folder: Folder
) -> None:
    made = folder(kind, **config)
    model = load(made)
    model.encoder.tokenizer.padding_side = side
    with precision.of(products):
        found = answers(model, SHORT, LONG, SHORT)
    assert torch.equal(found[0], found[2])
    # On processors without bfloat16 both are the same; where it is used it moves a logit in the third digit.
    assert torch.allclose(found[:2], wanted(made, SHORT, LONG), atol=1e-4 if products == "float32" else 5e-2)


def test_a_text_without_any_token_is_answered(folder: Folder) -> None:
    made = folder("gpt2", n_embd=32, n_layer=2, n_head=2)
    model = load(made)
    model.encoder.tokenizer.backend_tokenizer.post_processor = None
    assert model.encoder.tokenizer("")["input_ids"] == []
    assert answers(model, "").isfinite().all()
    assert torch.allclose(answers(model, "", SHORT)[:1], answers(model, ""), atol=1e-5)


@pytest.mark.parametrize(("kind", "longest"), [("bert", 20), ("roberta", 18)])
def test_a_text_is_cut_to_the_positions_of_the_model(kind: str, longest: int, folder: Folder) -> None:
    """RoBERTa's begin after the padding's, which is 1 here."""
    tokenizer = toy._byte_pairs(toy.sentences(1000)[0])
    model = load(folder(kind, tokenizer, **SMALL, max_position_embeddings=20))
    assert tokenizer.model_max_length > model.encoder.max_length == longest
    assert answers(model, LONG).isfinite().all()


@pytest.mark.parametrize("change", [{"pad_token": None}, {"extra": True}], ids=["no padding", "too many tokens"])
def test_a_tokenizer_that_does_not_fit_is_refused(change: dict[str, Any], folder: Folder) -> None:
    tokenizer = toy._byte_pairs(toy.sentences(1000)[0])
    made = folder("gpt2", tokenizer, n_embd=32, n_layer=2, n_head=2)
    if "extra" in change:
        tokenizer.add_tokens("a word more")
    else:
        tokenizer.pad_token = None
    tokenizer.save_pretrained(made)
    with pytest.raises(UserError, match=r"its tokenizer (knows \d+ tokens|is not a fast one with a padding token)"):
        load(made)


def test_models_of_one_vocabulary_keep_their_own_limits(
    classifier: Callable[..., Classifier], toy_data: Callable[..., TextDataModule], tmp_path: Path
) -> None:
    classifier("bert").save(tmp_path / "one")
    short, whole = load(tmp_path / "one", 8), load(tmp_path / "one")
    batch = toy_data([short, whole]).parts["train"].batch(range(6))
    lengths = [batch.inputs[model.encoder.key]["input_ids"].shape[1] for model in (short, whole)]
    assert lengths[0] == 8 < lengths[1]
    each = TeacherEnsemble([short, whole]).member_logits(batch)
    assert torch.equal(each[0], short(batch))
    assert torch.equal(each[1], whole(batch))


def test_labels_in_another_order_are_refused(folder: Folder) -> None:
    names = {0: "POSITIVE", 1: "NEGATIVE"}
    other = folder("electra", **SMALL, embedding_size=32, id2label=names, label2id={v: k for k, v in names.items()})
    with pytest.raises(UserError, match="electra numbers its labels POSITIVE, NEGATIVE, the data negative, positive: "):
        load(other)
    checkpoint = catalogue.Checkpoint("electra", other)
    assert models.load(checkpoint, LABELS, 64).model.config.id2label == {0: "negative", 1: "positive"}, "a student"
    assert models.load(checkpoint, ("Positive", "Negative"), 64, trained=True).model.config.num_labels == 2
    assert models.load(checkpoint, ("yes", "no"), 64, trained=True), "names that tell nothing of the order"
