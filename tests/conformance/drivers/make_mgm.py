"""Makes what MGM starts from, tiny and random, in the folder named by the first argument.

`tiny` is a Llama with its index, `openai-clip` CLIP's tower, `openclip-convnext-large-d-320` the folder of the second
one without weights, which MGM then leaves random, `rows.json` and `pictures` the data, `mgm.json` the sizes for mfc.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import sentencepiece
import torch
from PIL import Image  # type: ignore[import-not-found]
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaTokenizer,
)

TALK = ("<image>\none and one is", "two and no more")
CORPUS = ("USER: one and one is two and no more", "ASSISTANT: a chat between a curious user and an assistant")
ROWS = 8


def make(folder: Path) -> None:
    torch.manual_seed(0)
    model = folder / "tiny"
    model.mkdir(parents=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS * 20),
        model_prefix=str(model / "tokenizer"),
        vocab_size=300,
        model_type="bpe",
        byte_fallback=True,
        character_coverage=1.0,
        hard_vocab_limit=False,
    )
    tokenizer = LlamaTokenizer(str(model / "tokenizer.model"))
    tokenizer.save_pretrained(model)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=2048,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(model, max_shard_size="100KB")
    clip = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=2, image_size=336, patch_size=14
    )
    CLIPVisionModel(clip).save_pretrained(folder / "openai-clip")
    eyes = CLIPImageProcessor(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336})
    eyes.save_pretrained(folder / "openai-clip")
    second = folder / "openclip-convnext-large-d-320"
    second.mkdir()
    torch.save({"logit_scale": torch.ones(())}, second / "open_clip_pytorch_model.bin")
    seen = {"preprocess_cfg": {"mean": eyes.image_mean, "std": eyes.image_std}}
    (second / "open_clip_config.json").write_text(json.dumps(seen), encoding="utf-8")
    (folder / "pictures").mkdir()
    rows = []
    for number in range(ROWS):
        name = f"pictures/{number}.png"
        Image.new("RGB", (64, 48), (30 * number, 100, 20)).save(folder / name)
        talk = [{"from": who, "value": text} for who, text in zip(("human", "gpt"), TALK, strict=True)]
        rows.append({"id": str(number), "image": name, "conversations": talk})
    (folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    text = {**config.to_dict(), "model_type": "mgm", "mm_vision_tower": "clip-vit-large-patch14-336"}
    text |= {"mm_vision_tower_aux": second.name, "image_size_aux": 96, "image_grid": 1, "image_global": False}
    (folder / "mgm.json").write_text(json.dumps(text), encoding="utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
