"""Norms of examples' gradients in the models of transformers: tables of positions that all examples share."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from critbatch.gradient_noise.ghost_norms import GhostNorms

transformers = pytest.importorskip("transformers")

WORDS = 32
SIZES: dict[str, Any] = {"vocab_size": WORDS, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


def gpt2(dropout: float) -> nn.Module:
    sizes = {"vocab_size": WORDS, "n_positions": 16, "n_embd": 16, "n_layer": 2, "n_head": 2}
    config = transformers.GPT2Config(**sizes, resid_pdrop=dropout, embd_pdrop=dropout, attn_pdrop=dropout)
    return transformers.GPT2LMHeadModel(config)


def bert(dropout: float) -> nn.Module:
    config = transformers.BertConfig(
        **SIZES, intermediate_size=32, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout
    )
    return transformers.BertForSequenceClassification(config)


def t5(dropout: float) -> nn.Module:
    sizes = {"vocab_size": WORDS, "d_model": 16, "d_ff": 32, "num_layers": 2, "num_heads": 2, "d_kv": 8}
    config = transformers.T5Config(**sizes, dropout_rate=dropout, decoder_start_token_id=0)
    return transformers.T5ForConditionalGeneration(config)


def llama(dropout: float) -> nn.Module:
    config = transformers.LlamaConfig(**SIZES, intermediate_size=32, attention_dropout=dropout)
    return transformers.LlamaForCausalLM(config)


def vit(dropout: float) -> nn.Module:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.ViTConfig(
        **sizes, image_size=8, patch_size=4, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout
    )
    return transformers.ViTForImageClassification(config)


def batch_for(model: nn.Module, size: int, length: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    if hasattr(model, "vit"):
        return {"pixel_values": torch.randn(size, 3, 8, 8, generator=generator, dtype=torch.float64)}
    words = torch.randint(1, WORDS, (size, length), generator=generator)
    mask = torch.ones_like(words)
    mask[0, -2:] = 0
    batch = {"input_ids": words, "attention_mask": mask}
    return {**batch, "labels": words} if hasattr(model, "decoder") else batch


def losses_of(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """One for each example."""
    logits = model(**batch).logits
    if logits.ndim == 2:
        return F.cross_entropy(logits, torch.arange(len(logits)) % 2, reduction="none")
    words = batch["input_ids"]
    return F.cross_entropy(logits.flatten(0, 1), words.flatten(), reduction="none").view(words.shape).mean(1)


def one_by_one(model: nn.Module, losses: Tensor) -> dict[str, Tensor]:
    """The squared norms of the gradient of each loss, as autograd gives it."""
    named = dict(model.named_parameters())
    rows = [
        torch.autograd.grad(loss, list(named.values()), retain_graph=True, materialize_grads=True) for loss in losses
    ]
    return {name: torch.stack([row[i].square().sum() for row in rows]) for i, name in enumerate(named)}


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize(("size", "length"), [(4, 6), (6, 6)], ids=["", "as many words as examples"])
@pytest.mark.parametrize("make", [gpt2, bert, t5, llama, vit])
def test_models_of_transformers_have_the_norms_that_autograd_gives_one_by_one(
    make: Any, size: int, length: int, dropout: float
) -> None:
    torch.manual_seed(0)
    model = make(dropout).double().train()
    batch = batch_for(model, size, length)
    torch.manual_seed(3)
    expected = one_by_one(model, losses_of(model, batch))
    ghost = GhostNorms(model)
    torch.manual_seed(3)
    losses_of(model, batch).sum().backward()
    found = ghost.take(size)
    assert ghost.unchecked == ""
    for name, norms2 in expected.items():
        torch.testing.assert_close(found[name].to(norms2), norms2, rtol=1e-9, atol=1e-14, msg=name)


def test_a_mask_that_hides_nothing_at_the_first_step_may_hide_something_later() -> None:
    """Then the graph is another one: a mask of ones is left out of it."""
    torch.manual_seed(0)
    model = t5(0.0).double()
    ghost = GhostNorms(model)
    for hidden in (0, 2, 0):
        batch = batch_for(model, 4, 6)
        batch["attention_mask"] = torch.ones_like(batch["input_ids"])
        batch["attention_mask"][2, 6 - hidden :] = 0
        expected = one_by_one(model, losses_of(model, batch))
        ghost.discard()
        losses_of(model, batch).sum().backward()
        found = ghost.take(4)
        for name, norms2 in expected.items():
            torch.testing.assert_close(found[name].to(norms2), norms2, rtol=1e-9, atol=1e-14, msg=name)


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable`", "ignore:`torch.utils.checkpoint")
@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_blocks_have_the_same_norms(reentrant: bool) -> None:
    norms = []
    for checkpointed in (False, True):
        torch.manual_seed(0)
        model = llama(0.0).double().train()
        if checkpointed:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
        ghost = GhostNorms(model)
        losses_of(model, batch_for(model, 4, 6)).sum().backward()
        norms.append(ghost.take(4))
    for name, norms2 in norms[0].items():
        torch.testing.assert_close(norms[1][name], norms2)
