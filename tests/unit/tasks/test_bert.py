"""BERT's data are what Devlin et al. describe, and its loss is that of Hugging Face's model."""

from __future__ import annotations

import math
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from critbatch.errors import UserError
from critbatch.tasks.bert import (
    CLS,
    MASK,
    MOST_MASKED,
    PAD,
    SEP,
    SPECIAL,
    UNKNOWN,
    BertPretraining,
    Words,
    bert_task,
    masked_accuracy,
    masked_pairs,
    most_masked,
    pretraining_loss,
    to_long,
)
from critbatch.tasks.data import Examples

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def lines(count: int, *, words: int = 300, seed: int = 0) -> list[str]:
    """Lines of made words of one to five letters."""
    draw = random.Random(seed)
    known = ["".join(draw.choices(LETTERS, k=draw.randint(1, 5))) for _ in range(words)]
    return [" ".join(draw.choices(known, k=draw.randint(3, 12))) + "." for _ in range(count)]


def numbered(count: int, vocabulary: int = 1000) -> list[list[int]]:
    """Sentences whose tokens tell the place: no token but the special ones occurs twice in a row of them."""
    draw = random.Random(0)
    numbers = iter(range(10**9))
    span = vocabulary - len(SPECIAL)
    return [[len(SPECIAL) + next(numbers) % span for _ in range(draw.randint(3, 12))] for _ in range(count)]


def test_a_vocabulary_has_special_tokens_characters_and_the_most_frequent_words() -> None:
    words = Words.of(["The cat, the dog.", "the cat!"], size=1000)
    assert words.tokens[:5] == SPECIAL == ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    assert (PAD, UNKNOWN, CLS, SEP, MASK) == (0, 1, 2, 3, 4)
    assert words.tokens[5:] == ("!", ",", ".", "c", "d", "t", "##a", "##e", "##g", "##h", "##o", "##t", *TAIL)
    assert Words.of(["the cat!", "The cat, the dog."], size=1000) == words


TAIL = ("the", "cat", "dog")


def test_a_rare_word_becomes_its_characters_and_an_unseen_character_is_unknown() -> None:
    words = Words.of(["the cat, the dog."], size=5 + 6 + 6 - 1 + 1)
    assert "the" in words.tokens
    assert "dog" not in words.tokens
    assert [words.tokens[number] for number in words.numbers("The dog: the!")] == [
        "the",
        *("d", "##o", "##g"),
        "[UNK]",
        "the",
        "[UNK]",
    ]


def test_numbers_spell_the_text() -> None:
    text = lines(50)
    words = Words.of(text, size=100)
    assert len(words) == 100
    for line in text:
        spelled = " ".join(words.tokens[number] for number in words.numbers(line)).replace(" ##", "")
        assert spelled == line.replace(".", " .")


@pytest.fixture(scope="module")
def pairs() -> Examples:
    return masked_pairs(numbered(3000), length=64, vocabulary=1000, copies=4)


def restored(pairs: Examples) -> tuple[torch.Tensor, torch.Tensor]:
    """The sequences before they were masked, and where they were."""
    ids, positions = pairs.inputs["input_ids"].long(), pairs.inputs["masked_positions"].long()
    labels = pairs.targets["masked_labels"]
    rows, columns = (labels != -100).nonzero(as_tuple=True)
    ids[rows, positions[rows, columns]] = labels[rows, columns]
    where = torch.zeros_like(ids, dtype=torch.bool)
    where[rows, positions[rows, columns]] = True
    return ids, where


def test_a_sequence_is_two_segments_between_special_tokens(pairs: Examples) -> None:
    ids, where = restored(pairs)
    used = pairs.inputs["attention_mask"].sum(1)
    assert (ids[:, 0] == CLS).all()
    assert ((ids == SEP).sum(1) == 2).all()
    assert ((ids != PAD).sum(1) == used).all()
    assert not where[(ids == CLS) | (ids == SEP) | (ids == PAD)].any()
    for row, length, types in zip(ids[:200], used[:200], pairs.inputs["token_type_ids"][:200], strict=True):
        first, second = (row == SEP).nonzero().flatten().tolist()
        assert second == length - 1
        assert first >= 2
        assert second - first >= 2
        assert types.tolist() == [0] * (first + 1) + [1] * (second - first) + [0] * (64 - second - 1)


def test_fifteen_in_a_hundred_tokens_are_masked_each_in_its_own_place(pairs: Examples) -> None:
    _, where = restored(pairs)
    used = pairs.inputs["attention_mask"].sum(1).tolist()
    labels = pairs.targets["masked_labels"]
    found = (labels != -100).sum(1).tolist()
    assert found == where.sum(1).tolist() == [min(10, max(1, round(0.15 * length))) for length in used]
    assert labels.shape[1] == most_masked(64) == 10


def test_of_the_masked_tokens_80_are_masks_10_others_and_10_stay(pairs: Examples) -> None:
    ids, where = restored(pairs)
    seen, truth = pairs.inputs["input_ids"].long()[where], ids[where]
    count = len(seen)
    masks = (seen == MASK).float().mean().item()
    stays = (seen == truth).float().mean().item()
    # A token that is drawn evenly is the same one now and then.
    chance = 0.1 / (1000 - len(SPECIAL))
    assert masks == pytest.approx(0.8, abs=3 * math.sqrt(0.8 * 0.2 / count))
    assert stays == pytest.approx(0.1 + chance, abs=3 * math.sqrt(0.1 * 0.9 / count))
    assert (seen[(seen != MASK) & (seen != truth)] >= len(SPECIAL)).all()
    untouched = ids.clone()
    assert torch.equal(pairs.inputs["input_ids"].long()[~where], untouched[~where])


def test_each_place_is_as_likely_to_be_masked(pairs: Examples) -> None:
    _, where = restored(pairs)
    full = pairs.inputs["attention_mask"].sum(1) == 64
    inner = where[full][:, 1:-1].float().mean(0)
    count = int(full.sum())
    share = inner.mean().item()
    # Places where [SEP] may lie are masked a little less often.
    assert inner.min() > share - 5 * math.sqrt(share / count) - 0.02
    assert inner.max() < share + 5 * math.sqrt(share / count) + 0.02


def test_half_of_the_second_segments_follow_the_first(pairs: Examples) -> None:
    ids, _ = restored(pairs)
    labels = pairs.targets["is_random_next"]
    count = len(labels)
    # A pair may also be random because one sentence filled the sequence: here none does.
    assert labels.float().mean().item() == pytest.approx(0.5, abs=3 * math.sqrt(0.25 / count))
    follows = []
    for row in ids.tolist():
        first, second = (place for place, token in enumerate(row) if token == SEP)
        a, b = row[1:first], row[first + 1 : second]
        # Tokens count up through the text; cutting either segment at the inner end leaves a gap, at most of the cut.
        gap = (b[0] - a[-1]) % (1000 - len(SPECIAL))
        follows.append(1 <= gap <= 13)
    wrong = sum(follow == bool(label) for follow, label in zip(follows, labels.tolist(), strict=True))
    assert wrong / count < 0.03


def test_pairs_are_a_function_of_the_text_and_the_seed() -> None:
    def made(seed: int) -> Examples:
        return masked_pairs(numbered(60), length=32, vocabulary=1000, copies=2, seed=seed)

    first, again, other = made(0), made(0), made(1)
    for name, column in first.inputs.items():
        assert torch.equal(column, again.inputs[name])
    assert torch.equal(first.targets["masked_labels"], again.targets["masked_labels"])
    assert not torch.equal(first.inputs["input_ids"][:5], other.inputs["input_ids"][:5])


def test_long_sentences_are_cut_until_they_fit() -> None:
    sentences = [list(range(5, 205)) for _ in range(8)]
    found = masked_pairs(sentences, length=32, vocabulary=300, copies=3)
    assert (found.inputs["attention_mask"].sum(1) == 32).all()
    assert (found.targets["is_random_next"] == 1).all()


def test_a_text_that_is_too_short_is_refused() -> None:
    with pytest.raises(UserError, match=r"3 lines with 9 tokens are too few for two sequences of 128"):
        masked_pairs([[5, 6, 7]] * 3, length=128, vocabulary=10)


def test_the_numbers_of_masked_tokens_are_those_of_the_runs_that_were_published() -> None:
    assert MOST_MASKED == {128: 20, 512: 76}
    assert most_masked(64) == 10


@pytest.fixture(scope="module")
def transformers() -> Any:
    return pytest.importorskip("transformers")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(lines(900)))
    return path


def small_bert() -> BertPretraining:
    torch.manual_seed(0)
    return BertPretraining(vocabulary=1000, layers=2, hidden=16, heads=2).eval()


def test_the_head_sees_the_masked_places_alone_and_says_what_the_whole_model_says(
    transformers: Any, pairs: Examples
) -> None:
    model = small_bert()
    inputs, _ = pairs.take(torch.arange(4))
    ready = to_long(inputs)
    with torch.no_grad():
        words, follows = model(**ready)
        places = ready.pop("masked_positions")
        whole = model.bert(**ready)
    assert words.shape == (4, 10, 1000)
    for row in range(4):
        torch.testing.assert_close(words[row], whole.prediction_logits[row, places[row]], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(follows, whole.seq_relationship_logits)


def test_the_loss_of_one_example_is_the_model_s_own_total(transformers: Any, pairs: Examples) -> None:
    model = small_bert()
    for index in range(6):
        inputs, targets = pairs.take(torch.tensor([index]))
        ready = to_long(inputs)
        with torch.no_grad():
            found = pretraining_loss(model(**ready), targets)
            places, used = ready.pop("masked_positions"), targets["masked_labels"] != -100
            labels = torch.full_like(ready["input_ids"], -100)
            labels[0, places[used]] = targets["masked_labels"][used]
            own = model.bert(**ready, labels=labels, next_sentence_label=targets["is_random_next"]).loss
        assert found.shape == (1,)
        torch.testing.assert_close(found[0], own, rtol=1e-4, atol=1e-5)


def test_the_metric_counts_the_masked_tokens_that_were_used() -> None:
    words = torch.zeros(2, 3, 10)
    words[0, :, 7] = 1
    words[1, :, 4] = 1
    targets = {"masked_labels": torch.tensor([[7, 3, -100], [4, 4, 4]]), "is_random_next": torch.tensor([0, 1])}
    assert masked_accuracy((words, torch.zeros(2, 2)), targets).tolist() == [0.5, 1.0]


def test_padding_changes_nothing(transformers: Any) -> None:
    model = small_bert()
    ids = torch.randint(5, 1000, (1, 20))
    ready = {
        "input_ids": ids,
        "token_type_ids": torch.zeros_like(ids),
        "attention_mask": torch.ones_like(ids),
        "masked_positions": torch.tensor([[1, 5]]),
    }
    padded = {
        name: torch.nn.functional.pad(value, (0, 12)) if name != "masked_positions" else value
        for name, value in ready.items()
    }
    with torch.no_grad():
        for one, other in zip(model(**ready), model(**padded), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_task_is_made_from_a_local_text_and_learns(transformers: Any, text: Path) -> None:
    task = bert_task("mine", layers=1, hidden=32, heads=2, sequence_length=32, text=text, copies=2)
    assert (task.name, task.tokens_per_example) == ("mine", 32)
    assert task.train.inputs["input_ids"].shape == (task.examples, 32)
    model = task.new_model(0)
    inputs, targets = task.train.span(0, 64)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(8):
        loss = task.loss(task.forward(model, inputs), targets).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    start = math.log(model.bert.config.vocab_size) + math.log(2)
    assert losses[0] == pytest.approx(start, rel=0.1)
    assert losses[-1] < losses[0] - 0.3


def test_weights_of_the_first_stage_go_on_in_the_second(transformers: Any, text: Path) -> None:
    stages = [
        bert_task(layers=1, hidden=16, heads=2, sequence_length=length, text=text, copies=1) for length in (32, 64)
    ]
    first, second = (task.new_model(seed) for seed, task in enumerate(stages))
    second.load_state_dict(first.state_dict())
    inputs, _ = stages[1].train.span(0, 2)
    assert stages[1].forward(second, inputs)[0].shape[:2] == (2, most_masked(64))
    assert first.bert.config.max_position_embeddings == 512


def test_the_task_is_the_same_each_time(transformers: Any, text: Path) -> None:
    def made() -> Any:
        return bert_task(layers=1, hidden=16, heads=2, sequence_length=32, text=text, copies=1)

    assert made().fingerprint() == made().fingerprint()


def test_a_missing_library_is_named_with_the_command_that_brings_it(
    text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r"Task bert-tiny needs transformers, which cannot be imported.*`pip install t"):
        bert_task(text=text)


def test_a_text_that_is_none_is_refused(transformers: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing.txt cannot be read \(No such file"):
        bert_task(text=tmp_path / "nothing.txt")
    with pytest.raises(UserError, match="sequence_length=513 is not possible: use 8 to 512 tokens"):
        bert_task(text=tmp_path / "nothing.txt", sequence_length=513)
    (tmp_path / "short.txt").write_text("One line.\nTwo lines.\n")
    with pytest.raises(UserError, match=r"short.txt: 1 lines with 3 tokens are too few for two"):
        bert_task(text=tmp_path / "short.txt")


@pytest.mark.data
def test_bert_tiny_is_made_from_shakespeare(transformers: Any, real_data: Any) -> None:
    real_data("tinyshakespeare")
    from critbatch.tasks.registry import find_task

    task = find_task("bert-tiny")
    assert task.examples > 20_000
    assert len(task.validation) > 200
    assert (task.validation.inputs["input_ids"] == UNKNOWN).float().mean() < 1e-3
    assert np.mean(task.train.targets["is_random_next"].numpy()) == pytest.approx(0.5, abs=0.02)
