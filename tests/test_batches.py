"""Encoding, batching and the data module: what a model of a run gets to see."""

import re
import time
from collections.abc import Callable
from itertools import chain, combinations
from pathlib import Path

import pytest
import torch
from torch.utils.data import Dataset

from kd_lab import composition
from kd_lab.batching import ROWS_TOGETHER, TrainBatches, length_grouped, of_like_length, quiz_positions
from kd_lab.data import OneAhead, TextDataModule
from kd_lab.encoding import Batch, Encoder
from kd_lab.models import Classifier, TeacherEnsemble
from kd_lab.noise import TEXT_NOISES, Noise, vocabulary
from kd_lab.splits import Splits

LENGTHS = [3 + (i * 7919) % 60 for i in range(1003)]


def test_an_epoch_holds_every_row_once() -> None:
    batches = length_grouped(LENGTHS, 32, 0, 0)
    assert sorted(position for batch in batches for position in batch) == list(range(1003))
    assert len(batches) == len(TrainBatches(LENGTHS, 32, 0)) == 32


def test_rows_of_like_length_come_together() -> None:
    padded = sum(max(LENGTHS[p] for p in batch) * len(batch) for batch in length_grouped(LENGTHS, 32, 0, 0))
    assert padded < 1.1 * sum(LENGTHS)


def test_batches_are_a_function_of_seed_and_epoch_and_lengths_do_not_rise_through_an_epoch() -> None:
    assert length_grouped(LENGTHS, 32, 0, 1) == length_grouped(LENGTHS, 32, 0, 1)
    assert length_grouped(LENGTHS, 32, 0, 1) != length_grouped(LENGTHS, 32, 0, 2)
    assert length_grouped(LENGTHS, 32, 0, 1) != length_grouped(LENGTHS, 32, 1, 1)
    first = [LENGTHS[batch[0]] for batch in length_grouped(LENGTHS, 32, 0, 0)]
    assert first != sorted(first)


def test_the_sampler_counts_epochs_from_its_first() -> None:
    sampler = TrainBatches(LENGTHS, 32, seed=0, epoch=-2)
    sampler.set_epoch(1)
    assert {epoch for batch in sampler for epoch, _ in batch} == {-1}


def test_quiz_batches_go_round_the_quiz() -> None:
    lengths = LENGTHS[:100]
    batches = [quiz_positions(lengths, 32, 0, number) for number in range(30)]
    assert {len(batch) for batch in batches} == {32}
    for start in range(0, 30, 3):
        assert len(set(chain(*batches[start : start + 3]))) == 96
    assert set(chain(*batches)) == set(range(100))
    assert sorted(quiz_positions(lengths, 500, 0, 3)) == list(range(100))


def test_quiz_batches_are_not_the_same_few_over_and_over() -> None:
    """Sorting the whole quiz would make each batch one length class, the same in every pass."""
    lengths = LENGTHS[:100]
    together = [
        {tuple(sorted((a, b))) for a in batch for b in batch}
        for batch in (quiz_positions(lengths, 32, 0, n) for n in range(60))
    ]
    assert len(set().union(*together)) > 0.8 * 100 * 101 / 2


def test_every_model_gets_its_own_ids_and_shared_tokenizers_encode_once(
    classifier: Callable[..., Classifier], toy_data: Callable[..., TextDataModule]
) -> None:
    bert, distilbert, roberta = (classifier(kind) for kind in ("bert", "distilbert", "roberta"))
    assert bert.encoder.key == distilbert.encoder.key != roberta.encoder.key
    data = toy_data([bert, distilbert, roberta])
    batch = data.parts["train"].batch([0, 1, 2, 3])
    assert set(batch.inputs) == {bert.encoder.key, roberta.encoder.key}
    for model in (bert, roberta):
        tokenizer = model.encoder.tokenizer
        texts = [data.parts["train"].rows.texts[row] for row in batch.rows.tolist()]
        expected = tokenizer(texts, padding=True, return_tensors="pt")
        assert torch.equal(batch.inputs[model.encoder.key]["input_ids"], expected["input_ids"])
        assert torch.equal(batch.inputs[model.encoder.key]["attention_mask"], expected["attention_mask"])
        assert [tokenizer.decode(row, skip_special_tokens=True).strip()[:8] for row in expected["input_ids"]] == [
            t[:8] for t in texts
        ]


def test_logits_do_not_depend_on_padding(
    classifier: Callable[..., Classifier], toy_data: Callable[..., TextDataModule]
) -> None:
    for kind in ("bert", "distilbert", "roberta"):
        model = classifier(kind).eval().double()
        part = toy_data([model]).parts["train"]
        shortest, longest = min(range(50), key=part.lengths.__getitem__), max(range(50), key=part.lengths.__getitem__)
        assert part.lengths[shortest] < part.lengths[longest]
        assert torch.allclose(model(part.batch([shortest])), model(part.batch([shortest, longest]))[:1], rtol=1e-12)


def test_a_tokenizer_says_where_segments_begin_to_who_asks(classifier: Callable[..., Classifier]) -> None:
    """A model whose forward knows token types gets them; DistilBERT's does not."""
    assert "token_type_ids" in classifier("bert").takes
    assert "token_type_ids" not in classifier("distilbert").takes


def test_noise_touches_train_rows_only_and_is_the_same_for_all_models(
    classifier: Callable[..., Classifier], toy_data: Callable[..., TextDataModule]
) -> None:
    bert, roberta = classifier("bert"), classifier("roberta")
    data = toy_data([bert, roberta], noise="word", p=1.0, seed=3)
    keys = next(iter(data.train_dataloader().sampler))
    noisy = data.parts["train"][keys]
    for model in (bert, roberta):
        for ids in noisy.inputs[model.encoder.key]["input_ids"]:
            words = model.encoder.tokenizer.decode(ids, skip_special_tokens=True)
            assert set(re.findall("[a-z]+", words)[:-1]) == {"noise", "word"}  # the last one may be cut
    clean = toy_data([bert, roberta])
    for name in ("quiz", "validation", "test"):
        for ours, theirs in zip(data.one_pass(name), clean.one_pass(name), strict=True):
            for key in ours.inputs:
                assert torch.equal(ours.inputs[key]["input_ids"], theirs.inputs[key]["input_ids"])


def test_noise_differs_by_epoch_and_not_by_visit(
    classifier: Callable[..., Classifier], toy_data: Callable[..., TextDataModule]
) -> None:
    bert = classifier("bert")
    part = toy_data([bert], noise="word", p=0.5).parts["train"]

    def ids(epoch: int) -> list[list[int]]:
        return part.batch(range(20), epoch).inputs[bert.encoder.key]["input_ids"].tolist()

    assert ids(0) == ids(0)
    assert ids(0) != ids(1)
    assert ids(-1) != ids(0)


@pytest.mark.parametrize("name", TEXT_NOISES)
def test_teachers_may_see_the_sentences_without_noise(
    name: str, classifier: Callable[..., Classifier], toy_data: Callable[..., TextDataModule]
) -> None:
    """Also where teacher and student share a tokenizer."""
    student, *members = (classifier(kind) for kind in ("distilbert", "bert", "roberta"))
    options = {"noise": name, "p": 0.5, "seed": 3}
    both, apart = (
        toy_data([student, *members], clean_for_teachers=clean, **options).parts["train"] for clean in (False, True)
    )
    positions = range(16)
    clean, noisy, mixed = both.batch(positions), both.batch(positions, 0), apart.batch(positions, 0)
    shared, other = student.encoder.key, members[1].encoder.key
    assert noisy.for_teachers() is noisy
    assert torch.equal(mixed.inputs[shared]["input_ids"], noisy.inputs[shared]["input_ids"])
    assert set(mixed.inputs) == {shared}
    for key in (shared, other):
        assert torch.equal(mixed.for_teachers().inputs[key]["input_ids"], clean.inputs[key]["input_ids"])
        assert noisy.inputs[key]["input_ids"].tolist() != clean.inputs[key]["input_ids"].tolist()
    logits = TeacherEnsemble(members).eval()
    assert torch.equal(logits(mixed), logits(clean))


def test_flipped_labels_stay_flipped_and_only_in_train(
    classifier: Callable[..., Classifier], toy_data: Callable[..., TextDataModule]
) -> None:
    data = toy_data([classifier("bert")], noise="labels", p=0.5, seed=3)
    part = data.parts["train"]
    true = [data.rows.labels[row] for row in part.numbers]
    flipped = sum(label != was for label, was in zip(part.labels, true, strict=True))
    assert 0.35 < flipped / len(true) < 0.65
    assert part.batch(range(20), 0).labels.tolist() == part.batch(range(20), 5).labels.tolist() == part.labels[:20]
    for name in ("quiz", "validation", "test"):
        assert data.parts[name].labels == [data.rows.labels[row] for row in data.parts[name].numbers]


def test_long_sentences_are_cut(classifier: Callable[..., Classifier]) -> None:
    encoder = classifier("bert").encoder
    assert encoder.encode(["film " * 500]).lengths.tolist() == [encoder.max_length] == [64]


@pytest.mark.parametrize("size", [1, 7, 32])
def test_the_loader_yields_the_samplers_batches(
    size: int, classifier: Callable[..., Classifier], toy_data: Callable[..., TextDataModule]
) -> None:
    data = toy_data([classifier("bert")], batch_size=size)
    part = data.parts["train"]
    rows = [batch.rows.tolist() for batch in data.train_dataloader()]
    assert rows == [[part.numbers[at] for _, at in keys] for keys in TrainBatches(part.lengths, size, 0)]


def test_the_settings_of_a_run_say_how_its_rows_are_read(
    classifier: Callable[..., Classifier], toy_data: Callable[..., TextDataModule]
) -> None:
    words = "data=toy experiment=smoke method=metadistil batch_size=7 seed=3 trainer.workers=1 noise.p=0.5"
    words += " noise=vocabulary noise.teacher_sees=clean method.train_on_quiz=true method.quiz_rows=3"
    bert, toy = classifier("bert"), toy_data([classifier("bert")])
    cut = Splits(train=(0, 1, 2), quiz=(3, 4, 5, 6), validation=(7,), test=(8,))
    told = TextDataModule.of(composition.settings_of(words.split()), toy.rows, cut, [bert.encoder])
    train = told.parts["train"]
    assert (told.batch_size, told.seed, told.workers) == (7, 3, 1)
    assert told.train_dataloader().num_workers == 1
    assert list(train.numbers) == [*cut.train, *cut.quiz]
    # Words of held-out sentences would be a leak.
    known = vocabulary(toy.rows.texts[number] for number in train.numbers)
    assert (train.noise, train.clean_for_teachers) == (Noise("vocabulary", 0.5, 3, known), True)
    assert len(told.quiz_lengths) == 3 < len(cut.quiz)


@pytest.mark.parametrize("start", [0, 40, 10**6])
def test_groups_of_like_length_cost_least(start: int) -> None:
    lengths = LENGTHS[:29]

    def cost(groups: list[list[int]]) -> int:
        return sum(len(group) * max(lengths[p] for p in group) + start for group in groups)

    order = sorted(range(29), key=lengths.__getitem__)
    cuts = [5, 13, 21]
    every = [
        [order[a:b] for a, b in zip([0, *some], [*some, 29], strict=True)]
        for number in range(4)
        for some in combinations(cuts, number)
    ]
    found = of_like_length(lengths, start)
    assert sorted(chain(*found)) == list(range(29))
    assert cost(found) == min(map(cost, every))
    assert sum(len(group) % ROWS_TOGETHER != 0 for group in found) <= 1
    if start == 10**6:
        assert len(found) == 1


def test_parts_of_a_batch_are_its_rows_with_less_padding(
    classifier: Callable[..., Classifier], toy_data: Callable[..., TextDataModule]
) -> None:
    model = classifier("bert").eval()
    batch = toy_data([model]).parts["train"].batch(range(40))
    parts = batch.of_like_length(model.encoder.key, 0)
    assert len(parts) > 1
    assert sorted(chain(*(part.rows.tolist() for part in parts))) == sorted(batch.rows.tolist())
    widths = [part.inputs[model.encoder.key]["input_ids"].numel() for part in parts]
    assert sum(widths) < batch.inputs[model.encoder.key]["input_ids"].numel()
    whole = dict(zip(batch.rows.tolist(), model(batch), strict=True))
    for part in parts:
        for row, logits in zip(part.rows.tolist(), model(part), strict=True):
            assert torch.allclose(logits, whole[row], atol=1e-5)


@pytest.mark.parametrize(("count", "sizes"), [(2, [8, 7]), (4, [4, 4, 4, 3]), (9, [2] * 6 + [1] * 3), (40, [1] * 15)])
def test_shares_of_a_batch_are_even(
    count: int, sizes: list[int], classifier: Callable[..., Classifier], toy_data: Callable[..., TextDataModule]
) -> None:
    batch = toy_data([classifier("bert")]).parts["train"].batch(range(15))
    shares = [share for number in range(count) if (share := batch.share(number, count)) is not None]
    assert [len(share) for share in shares] == sizes
    assert list(chain(*(share.rows.tolist() for share in shares))) == batch.rows.tolist()


def test_left_padding_is_cut_on_the_left(classifier: Callable[..., Classifier]) -> None:
    encoder = classifier("bert").encoder
    encoder.tokenizer.padding_side = "left"
    texts = ["the film is really lovely .", "the film ."]
    padded = encoder.pad(encoder.encode(texts))
    expected = encoder.tokenizer(texts, padding=True, return_tensors="pt")
    assert torch.equal(padded["input_ids"], expected["input_ids"])
    assert torch.equal(padded["attention_mask"], expected["attention_mask"])
    numbers = torch.arange(2)
    (short,) = Batch(numbers, numbers, {encoder.key: padded}).split(1)[1:]
    assert short.inputs[encoder.key]["attention_mask"].tolist()[0][-4:] == [1, 1, 1, 1]


def test_batches_are_made_ahead_in_order_and_errors_come_through() -> None:
    made: list[int] = []

    class Rows(Dataset[int]):
        def __getitem__(self, index: int) -> int:
            made.append(index)
            if index == 7:
                raise ValueError("the seventh")
            return index

    loader = iter(OneAhead(Rows(), sampler=range(9), batch_size=None))  # type: ignore[arg-type]
    assert next(loader) == 0  # type: ignore[comparison-overlap]
    deadline = time.monotonic() + 10
    while len(made) < 2 and time.monotonic() < deadline:
        pass
    assert len(made) == 2, "the next is under way"
    assert [next(loader) for _ in range(6)] == [1, 2, 3, 4, 5, 6]  # type: ignore[comparison-overlap]
    with pytest.raises(ValueError, match="the seventh"):
        next(loader)


def test_token_ids_are_kept_for_the_next_run(
    classifier: Callable[..., Classifier],
    toy_data: Callable[..., TextDataModule],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KD_LAB_CACHE", str(tmp_path))
    model = classifier("bert")
    first = toy_data([model]).parts["train"].batch(range(9))
    monkeypatch.setattr(Encoder, "encode", lambda *_: pytest.fail("encoded again"))
    again = toy_data([model]).parts["train"].batch(range(9))
    key = model.encoder.key
    assert all(torch.equal(first.inputs[key][name], again.inputs[key][name]) for name in first.inputs[key])
