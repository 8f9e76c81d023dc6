"""BERT pre-training (Devlin et al. 2018, arXiv:1810.04805) on a local text, with Hugging Face's model."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from critbatch.errors import UserError
from critbatch.examples import Examples, Tree, map_tree
from critbatch.records.core import Quantity, Target
from critbatch.task import Task, accuracy, cross_entropy
from critbatch.zoo.entry import TaskEntry
from critbatch.zoo.extras import need
from critbatch.zoo.masked_pairs import masked_pairs
from critbatch.zoo.places import data_folder
from critbatch.zoo.readers import read_text
from critbatch.zoo.words import PAD, Words

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
