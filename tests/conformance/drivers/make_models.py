"""Makes tiny random models with tokenizers and adapters: `python make_models.py FOLDER CONFIGS NAME ...`.

CONFIGS is a JSON file of Hugging Face configs by name. Each NAME becomes `FOLDER/NAME`, a model that loads offline, and
`FOLDER/runs/NAME/checkpoint-2`, a fresh LoRA adapter of it where training leaves one. Needs transformers and PEFT.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

WORDS = ("the model learns to answer a short question", "one and one is two", "user assistant system")
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
PICTURE = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def tokenizer(folder: Path) -> Any:
    tokens = Tokenizer(models.BPE())
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    trained = trainers.BpeTrainer(
        vocab_size=320, special_tokens=[*SPECIAL, *PICTURE], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokens.train_from_iterator(WORDS, trained)
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokens, eos_token=SPECIAL[2], pad_token=SPECIAL[0], chat_template=CHAT
    )
    made.save_pretrained(folder)
    # A class says to some that Qwen2 begins texts with nothing; the tokens themselves stand in tokenizer.json.
    told = folder / "tokenizer_config.json"
    said = {**json.loads(told.read_text(encoding="utf-8")), "tokenizer_class": "Qwen2TokenizerFast"}
    told.write_text(json.dumps(said, indent=2), encoding="utf-8")
    return made


def model(said: dict[str, Any], folder: Path) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(said), encoding="utf-8")
    config = transformers.AutoConfig.from_pretrained(folder)
    return getattr(transformers, said["architectures"][0])(config).to(torch.bfloat16)


def processor(folder: Path, tokens: Any) -> None:
    """What turns pictures into patches, saved beside a model."""
    pictures = transformers.Qwen2VLImageProcessor()
    pictures.save_pretrained(folder)
    videos = transformers.Qwen2VLVideoProcessor()
    transformers.Qwen2VLProcessor(pictures, tokens, videos, chat_template=CHAT).save_pretrained(folder)


def main(folder: Path, configs: Path, *names: str) -> None:
    every = json.loads(configs.read_text(encoding="utf-8"))
    for name in names:
        said = every[name]
        torch.manual_seed(0)
        made = model(said, folder / name)
        made.save_pretrained(folder / name)
        tokens = tokenizer(folder / name)
        if "vision_config" in said:
            processor(folder / name, tokens)
        linear = [part for part, m in made.named_modules() if part.endswith(LAYERS) and "visual" not in part]
        kept = peft.LoraConfig(r=8, lora_alpha=16, target_modules=linear, task_type="CAUSAL_LM")
        peft.get_peft_model(made, kept).save_pretrained(folder / "runs" / name / "checkpoint-2")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
