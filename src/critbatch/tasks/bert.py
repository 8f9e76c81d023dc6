"""BERT pre-training (Devlin et al. 2018, arXiv:1810.04805) on a local text, with Hugging Face's model."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import RandomState
from numpy.typing import NDArray
from torch import Tensor, nn

from critbatch.errors import UserError
from critbatch.records.core import Quantity, Target
from critbatch.tasks.data import IGNORED, Examples, Tree, map_tree
from critbatch.tasks.datasets import data_folder, read_text
from critbatch.tasks.entry import TaskEntry, need
from critbatch.tasks.task import Task, accuracy, cross_entropy

# --- vocabulary: one number for a word or, if the word is rare, one for each of its characters -----------------------

PAD, UNKNOWN, CLS, SEP, MASK = range(5)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

_TOKEN = re.compile(r"\w+|[^\w\s]")


def split_words(line: str) -> list[str]:
    """Words and punctuation marks of a line, in lower case.

    >>> split_words("Before we proceed, hear me.")
    ['before', 'we', 'proceed', ',', 'hear', 'me', '.']
    """
    return _TOKEN.findall(line.lower())


@dataclass(frozen=True)
class Words:
    """A vocabulary made from a text: special tokens, its characters, its most frequent words.

    It stands in for WordPiece (Wu et al. 2016, arXiv:1609.08144), whose vocabulary cannot be had offline. A word that
    is not in it becomes its characters; all but the first carry "##", as there. A character that the text did not have
    is unknown.

    >>> words = Words.of(["to be or not to be"], size=20)
    >>> [words.tokens[number] for number in words.numbers("to toe")]
    ['to', 't', '##o', '##e']
    """

    tokens: tuple[str, ...]
    _numbers: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_numbers", {token: number for number, token in enumerate(self.tokens)})

    @classmethod
    def of(cls, lines: Iterable[str], *, size: int) -> Words:
        """The vocabulary of a text.

        Args:
            lines: of the text.
            size: the most tokens it may have; characters come in even beyond it.
        """
        counts = Counter(word for line in lines for word in split_words(line))
        first = sorted({word[0] for word in counts})
        later = sorted({f"##{character}" for word in counts for character in word[1:]})
        tokens = [*SPECIAL, *first, *later]
        # By number, then by letters: the order of a set or of the text must not matter.
        frequent = sorted((word for word in counts if len(word) > 1), key=lambda word: (-counts[word], word))
        return cls((*tokens, *frequent[: max(size - len(tokens), 0)]))

    def __len__(self) -> int:
        return len(self.tokens)

    def numbers(self, line: str) -> list[int]:
        """The line's tokens as numbers."""
        numbers = []
        for word in split_words(line):
            if word in self._numbers:
                numbers.append(self._numbers[word])
            else:
                pieces = (word[0], *(f"##{character}" for character in word[1:]))
                numbers += [self._numbers.get(piece, UNKNOWN) for piece in pieces]
        return numbers


# Pairs of sentences with masked words, as Devlin et al. 2018, arXiv:1810.04805, section 3.1, pre-train BERT on them.
#
# They are data, not draws made while training: a function of the text and a seed.

MASKED_SHARE = 0.15
# As in the runs of Devlin et al. and You et al.; the second is a little below 15 % of 512.
MOST_MASKED = {128: 20, 512: 76}

Sentences = list[list[int]]


def most_masked(length: int) -> int:
    """How many tokens of a sequence may be masked."""
    return MOST_MASKED.get(length, math.ceil(MASKED_SHARE * length))


def masked_pairs(sentences: Sentences, *, length: int, vocabulary: int, copies: int = 10, seed: int = 0) -> Examples:
    """Sequences [CLS] A [SEP] B [SEP], with some of their tokens masked.

    As in create_pretraining_data.py of the authors: as many sentences as fill a sequence, cut at random into A and B;
    in half of the pairs B is instead what follows another place of the text, and the sentences that it replaced are
    used in the next pair. The longer of A and B is cut, at either end, until both fit. The whole text is one document,
    and there are no sequences that are short on purpose.

    Of each sequence 15 % of the tokens are chosen, never [CLS] or [SEP]: 80 % of these become [MASK], 10 % another
    token drawn evenly, 10 % stay.

    Args:
        sentences: each as numbers, in the order of the text.
        length: of a sequence, in tokens.
        vocabulary: how many tokens there are.
        copies: how often the text is gone through, with other pairs and masks; ten in the authors' code.
        seed: of the draws, by NumPy's frozen RandomState (NEP 19).

    Returns:
        Inputs: input_ids, int32, token_type_ids and attention_mask, uint8, each (examples, length), and
        masked_positions, int16, (examples, most_masked(length)). Targets: masked_labels, int64, as masked_positions,
        -100 where fewer tokens are masked; and is_random_next, int64, (examples,): 1 where B does not follow A.

    Raises:
        UserError: if the text is too short for two sequences.
    """
    sentences = [sentence for sentence in sentences if sentence]
    max_tokens = length - 3
    num_tokens = sum(map(len, sentences))
    if len(sentences) < 4 or num_tokens < 2 * max_tokens:
        raise UserError(
            f"{len(sentences):,} lines with {num_tokens:,} tokens are too few for two sequences of {length}, to train "
            "on or to validate on: use a longer text or shorter sequences."
        )
    random = RandomState(seed)
    rows = [
        _row(first, second, is_random, length, vocabulary, random)
        for _ in range(copies)
        for first, second, is_random in _pairs(sentences, max_tokens, random)
    ]
    columns = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}
    targets = {name: columns.pop(name) for name in ("masked_labels", "is_random_next")}
    return Examples(columns, targets)


def _pairs(sentences: Sentences, max_tokens: int, random: RandomState) -> list[tuple[list[int], list[int], bool]]:
    pairs = []
    begin = 0
    while begin < len(sentences):
        end, size = begin, 0
        while end < len(sentences) and size < max_tokens:
            size += len(sentences[end])
            end += 1
        middle = begin + (random.randint(1, end - begin) if end - begin > 1 else 1)
        first = [token for sentence in sentences[begin:middle] for token in sentence]
        is_random = middle == end or random.random_sample() < 0.5
        if is_random:
            second = _elsewhere(sentences, max_tokens - len(first), (begin, end), random)
            begin = middle
        else:
            second = [token for sentence in sentences[middle:end] for token in sentence]
            begin = end
        pairs.append((*_cut(first, second, max_tokens, random), is_random))
    return pairs


def _elsewhere(sentences: Sentences, min_tokens: int, excluded: tuple[int, int], random: RandomState) -> list[int]:
    """Sentences from a place outside `excluded` and not right behind it, until they have `min_tokens` or none is left.

    `masked_pairs` has seen to it that there is such a place, but for texts of a few lines: they get the last one.
    """
    begin, end = excluded
    outside = len(sentences) - (end + 1 - begin)
    place = random.randint(max(outside, 1))
    place = place if place < begin else min(place + end + 1 - begin, len(sentences) - 1)
    stop = begin if place < begin else len(sentences)
    tokens: list[int] = []
    while place < stop and len(tokens) < max(min_tokens, 1):
        tokens += sentences[place]
        place += 1
    return tokens


def _cut(first: list[int], second: list[int], max_tokens: int, random: RandomState) -> tuple[list[int], list[int]]:
    """Both, with tokens taken from either end of the longer one until they fit."""
    while len(first) + len(second) > max_tokens:
        longer_is_first = len(first) > len(second)
        longer = first if longer_is_first else second
        shorter = longer[1:] if random.random_sample() < 0.5 else longer[:-1]
        first, second = (shorter, second) if longer_is_first else (first, shorter)
    return first, second


def _row(
    first: list[int], second: list[int], is_random: bool, length: int, vocabulary: int, random: RandomState
) -> dict[str, NDArray[Any]]:
    tokens = np.array([CLS, *first, SEP, *second, SEP], np.int32)
    used, second_begins = len(tokens), len(first) + 2
    candidates = np.flatnonzero((tokens != CLS) & (tokens != SEP))
    most = most_masked(length)
    num_masked = min(most, max(1, round(MASKED_SHARE * used)))
    chosen = np.sort(random.permutation(candidates)[:num_masked])
    labels = tokens[chosen]
    fate = random.random_sample(len(chosen))
    others = random.randint(len(SPECIAL), vocabulary, len(chosen))
    ids = np.full(length, PAD, np.int32)
    ids[:used] = tokens
    ids[chosen] = np.where(fate < 0.8, MASK, np.where(fate < 0.9, others, labels))
    positions, masked_labels = np.zeros(most, np.int16), np.full(most, IGNORED, np.int64)
    positions[: len(chosen)], masked_labels[: len(chosen)] = chosen, labels
    places = np.arange(length)
    return {
        "input_ids": ids,
        "token_type_ids": ((places >= second_begins) & (places < used)).astype(np.uint8),
        "attention_mask": (places < used).astype(np.uint8),
        "masked_positions": positions,
        "masked_labels": masked_labels,
        "is_random_next": np.array(int(is_random)),
    }


POSITIONS = 512
VOCABULARY = 8192


class BertPretraining(nn.Module):
    """BertForPreTraining of transformers, made from a configuration: nothing is downloaded.

    The head for masked words is applied to the masked positions alone, as in the authors' code, which saves most of
    its cost. input_ids, token_type_ids and attention_mask, each (batch, tokens), and masked_positions,
    (batch, masked), to the pair of logits (batch, masked, vocabulary) and (batch, 2).

    Args:
        vocabulary: how many tokens there are.
        layers: of the encoder.
        hidden: its width; inner layers are four times as wide.
        heads: of attention; they divide the width.
    """

    def __init__(self, *, vocabulary: int, layers: int, hidden: int, heads: int) -> None:
        super().__init__()
        transformers = need("transformers", package="transformers", purpose="BERT")
        config = transformers.BertConfig(
            vocab_size=vocabulary,
            num_hidden_layers=layers,
            hidden_size=hidden,
            num_attention_heads=heads,
            intermediate_size=4 * hidden,
            max_position_embeddings=POSITIONS,
            pad_token_id=PAD,
        )
        self.bert = transformers.BertForPreTraining(config)

    def forward(
        self, input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor, masked_positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        states, pooled = self.bert.bert(
            input_ids=input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask, return_dict=False
        )[:2]
        places = masked_positions.unsqueeze(-1).expand(-1, -1, states.shape[-1])
        words, follows = self.bert.cls(states.gather(1, places), pooled)
        return words, follows


def pretraining_loss(outputs: tuple[Tensor, Tensor], targets: dict[str, Tensor]) -> Tensor:
    """Mean cross-entropy over the example's masked tokens, plus that of whether B follows A; shape (batch,)."""
    words, follows = outputs
    return cross_entropy(words, targets["masked_labels"]) + F.cross_entropy(
        follows, targets["is_random_next"], reduction="none"
    )


def masked_accuracy(outputs: tuple[Tensor, Tensor], targets: dict[str, Tensor]) -> Tensor:
    """The share of the example's masked tokens that are guessed right, shape (batch,)."""
    return accuracy(outputs[0], targets["masked_labels"])


def to_long(batch: Tree) -> Tree:
    """Every tensor as int64, which embeddings and gathering take."""
    return map_tree(torch.Tensor.long, batch)


def bert_task(
    name: str = "bert-tiny",
    *,
    layers: int = 2,
    hidden: int = 128,
    heads: int = 2,
    sequence_length: int = 128,
    text: Path | str | None = None,
    copies: int = 10,
    target: float = 6.2,
    seed: int = 0,
) -> Task:
    """Pre-training with masked words and next sentences, You et al. 2019, arXiv:1904.00962, section 4.1, in small.

    Sentences are lines of the text; its last tenth is for validation. Words are in lower case, see `zoo.words`. The
    model has 512 positions at any length, so weights of a stage at 128 go on in a stage at 512.

    Args:
        name: of the task.
        layers: of the encoder; 24 in BERT-Large.
        hidden: its width; 1024 in BERT-Large.
        heads: of attention; 16 in BERT-Large.
        sequence_length: in tokens, up to 512.
        text: a UTF-8 file with a sentence in each line; None for tiny-shakespeare.
        copies: how often the text is gone through to make training examples, with other pairs and masks.
        target: the validation loss to reach.
        seed: of pairs and masks.
    """
    need("transformers", package="transformers", purpose=f"Task {name}")
    if not 8 <= sequence_length <= POSITIONS:
        raise UserError(f"sequence_length={sequence_length} is not possible: use 8 to {POSITIONS} tokens.")
    path = Path(text) if text is not None else data_folder("tinyshakespeare") / "input.txt"
    lines = [line for line in read_text(path).splitlines() if line.strip()]
    split = len(lines) * 9 // 10
    words = Words.of(lines[:split], size=VOCABULARY)

    def pairs(part: list[str], copies: int, seed: int) -> Examples:
        sentences = [words.numbers(line) for line in part]
        try:
            return masked_pairs(sentences, length=sequence_length, vocabulary=len(words), copies=copies, seed=seed)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None

    return Task(
        name,
        model=partial(BertPretraining, vocabulary=len(words), layers=layers, hidden=hidden, heads=heads),
        train=pairs(lines[:split], copies, seed),
        validation=pairs(lines[split:], 1, seed + 1),
        loss=pretraining_loss,
        metric=masked_accuracy,
        metric_name="accuracy on masked words",
        target=Target(quantity=Quantity.VALIDATION_LOSS, value=target),
        unit="sequence",
        tokens_per_example=sequence_length,
        prepare=to_long,
        recipe="adam",
    )


_TEXT = "masked words and next sentences in tiny-shakespeare, sequences of {}; validation on the last tenth"

BERT_TASKS: dict[str, TaskEntry] = {
    "bert-tiny": TaskEntry(
        bert_task, _TEXT.format(128), "tinyshakespeare", "BERT, 2 layers of width 128, by transformers"
    ),
    "bert-tiny-512": TaskEntry(
        partial(bert_task, "bert-tiny-512", sequence_length=512),
        _TEXT.format(512),
        "tinyshakespeare",
        "the same BERT, for a second stage",
    ),
}
