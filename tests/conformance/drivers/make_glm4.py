"""Makes a tiny random GLM-4-0414 with its tokenizer's ids in the folder named by the first argument.

The script of the demo writes token ids from 151329 on into its rows, so the vocabulary is as large as GLM-4's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import Glm4Config, Glm4ForCausalLM, PreTrainedTokenizerFast

WORDS = 151_329
SPECIAL = ("<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>")
ROLES = ("<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")
CHAT = "[gMASK]<sop>{% for m in messages %}<|{{ m['role'] }}|> {{ m['content'] }}{% endfor %}"


def make(folder: Path) -> None:
    """Two layers of width 64; 40 MB, nearly all of it the vocabulary."""
    known = {"one": 0, "and": 1, "is": 2, "two": 3, "unknown": 4} | {f"w{number}": number for number in range(5, WORDS)}
    tokens = Tokenizer(models.WordLevel(known, unk_token="unknown"))
    tokens.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokens.add_special_tokens([AddedToken(name, special=True) for name in (*SPECIAL, *ROLES)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokens, eos_token=SPECIAL[0], pad_token=SPECIAL[0], chat_template=CHAT
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = Glm4Config(
        vocab_size=151_552,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        attention_bias=True,
        pad_token_id=WORDS,
        eos_token_id=WORDS,
    )
    Glm4ForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
