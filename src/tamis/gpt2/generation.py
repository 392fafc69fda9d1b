"""Text generation with a pretrained model."""

from __future__ import annotations

import torch

from tamis.gpt2.model import GPT2
from tamis.gpt2.packing import pack
from tamis.text.tokenizer import Tokenizer


def sample(
    trunk: GPT2,
    tokenizer: Tokenizer,
    beginnings: list[str],
    *,
    tokens: int = 40,
    temperature: float = 0.8,
    top: int = 40,
    seed: int = 42,
) -> list[str]:
    """Continue texts token by token.

    Args:
        trunk: the model.
        tokenizer: a tokenizer that adds a leading `<|endoftext|>`.
        beginnings: texts to continue; an empty one starts a new text.
        tokens: most tokens to add; a text ends earlier at `<|endoftext|>` or at the end of the
            context.
        temperature: values below 1 favour likely tokens.
        top: only the `top` most likely tokens are drawn.
        seed: seed of the draws.
    """
    generator = torch.Generator().manual_seed(seed)
    written = []
    trunk.eval()
    device = trunk.wte.weight.device
    with torch.inference_mode():
        for beginning in beginnings:
            ids = [int(i) for i in tokenizer.encode([beginning])[0]][: trunk.config.n_positions]
            first = len(ids)
            while len(ids) < min(first + tokens, trunk.config.n_positions):
                packed = pack([torch.tensor(ids).numpy()]).to(device)
                logits = trunk.next_token_logits(trunk(packed)[-1]).float().cpu()
                best = (logits / temperature).topk(min(top, len(logits)))
                drawn = int(
                    best.indices[torch.multinomial(best.values.softmax(0), 1, generator=generator)]
                )
                if drawn == tokenizer.end_of_text:
                    break
                ids.append(drawn)
            written.append(tokenizer.decode([i for i in ids if i != tokenizer.end_of_text]))
    return written
