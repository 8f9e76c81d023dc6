"""Pairs of sentences with masked words, as Devlin et al. 2018, arXiv:1810.04805, section 3.1, pre-train BERT on them.

They are data, not draws made while training: a function of the text and a seed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import NDArray

from critbatch.dataset_batches import IGNORED
from critbatch.errors import UserError
from critbatch.examples import Examples
from critbatch.zoo.words import CLS, MASK, PAD, SEP, SPECIAL

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
    room = length - 3
    found = sum(map(len, sentences))
    if len(sentences) < 4 or found < 2 * room:
        raise UserError(
            f"{len(sentences):,} lines with {found:,} tokens are too few for two sequences of {length}, to train on or "
            "to validate on: use a longer text or shorter sequences."
        )
    random = RandomState(seed)
    rows = [
        _row(first, second, is_random, length, vocabulary, random)
        for _ in range(copies)
        for first, second, is_random in _pairs(sentences, room, random)
    ]
    columns = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}
    targets = {name: columns.pop(name) for name in ("masked_labels", "is_random_next")}
    return Examples(columns, targets)


def _pairs(sentences: Sentences, room: int, random: RandomState) -> list[tuple[list[int], list[int], bool]]:
    pairs = []
    begin = 0
    while begin < len(sentences):
        end, size = begin, 0
        while end < len(sentences) and size < room:
            size += len(sentences[end])
            end += 1
        middle = begin + (random.randint(1, end - begin) if end - begin > 1 else 1)
        first = [token for sentence in sentences[begin:middle] for token in sentence]
        is_random = middle == end or random.random_sample() < 0.5
        if is_random:
            second = _elsewhere(sentences, room - len(first), (begin, end), random)
            begin = middle
        else:
            second = [token for sentence in sentences[middle:end] for token in sentence]
            begin = end
        pairs.append((*_cut(first, second, room, random), is_random))
    return pairs


def _elsewhere(sentences: Sentences, wanted: int, taken: tuple[int, int], random: RandomState) -> list[int]:
    """Sentences from a place outside `taken` and not right behind it, until they have `wanted` tokens or none is left.

    `masked_pairs` has seen to it that there is such a place, but for texts of a few lines: they get the last one.
    """
    begin, end = taken
    outside = len(sentences) - (end + 1 - begin)
    place = random.randint(max(outside, 1))
    place = place if place < begin else min(place + end + 1 - begin, len(sentences) - 1)
    stop = begin if place < begin else len(sentences)
    found: list[int] = []
    while place < stop and len(found) < max(wanted, 1):
        found += sentences[place]
        place += 1
    return found


def _cut(first: list[int], second: list[int], room: int, random: RandomState) -> tuple[list[int], list[int]]:
    """Both, with tokens taken from either end of the longer one until they fit."""
    while len(first) + len(second) > room:
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
    wanted = min(most, max(1, round(MASKED_SHARE * used)))
    chosen = np.sort(random.permutation(candidates)[:wanted])
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
