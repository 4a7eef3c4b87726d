"""What a difference of each field does: change what is learnt, only what that costs, or only what is around the run.

Each has its reason in a line. In each group the fields that tell most stand first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Kind = Literal["result", "cost", "run"]


class Effect(NamedTuple):
    """What a difference of one field changes, and why it matters."""

    kind: Kind
    why: str


_RESULT = {
    "model.id": "another model learns",
    "model.revision": "other weights to start from",
    "model.adapter": "training goes on from other adapters",
    "model.adapter_mode": "whether old adapters go on training, or are merged and new ones train",
    "task": "another objective",
    "method": "which weights learn; gradients and optimizer states take memory for those alone",
    "quantization": "rounded base weights: less memory for them, and another start",
    "freeze_parts": "what of the model learns; parts that do keep activations, gradients and optimizer states",
    "whole_parts": "parts that learn whole beside adapters take gradients and optimizer states of their full size",
    "trainable_layers": "how many layers learn, and take gradients and optimizer states",
    "lora_targets": "which layers get adapters",
    "lora_rank": "how much the adapters can hold",
    "lora_alpha": "the output of adapters is scaled by alpha / rank, which acts like their learning rate",
    "lora_variant": "another form of adapters",
    "modules_to_save": "layers that learn whole beside the adapters",
    "batch_size": "samples behind each optimizer step: another noise in the gradient, another number of steps",
    "learning_rate": "how far each step goes",
    "vision_learning_rate": "how far each step of the vision tower goes",
    "projector_learning_rate": "how far each step of the projector goes",
    "max_length": "longer samples are cut or left out; memory and time grow with the longest",
    "image_max_pixels": "how much of a picture the model sees; its tokens take length, memory and time",
    "image_frames": "how many pictures of a video the model sees",
    "epochs": "how often each sample is seen",
    "max_steps": "how long it trains",
    "optimizer": "another optimizer, with states of another size",
    "schedule": "how the learning rate moves",
    "warmup": "how long the learning rate rises",
    "min_learning_rate": "where the learning rate ends",
    "decay": "how long the learning rate falls",
    "precision": "what numbers are rounded to in forward and backward, and what weights and states take",
    "packing": "how many samples a row holds, so how many a step sees",
    "overlong": "longer samples are cut, or left out",
    "data.train": "other rows, or the same read otherwise",
    "template": "how a conversation becomes tokens",
    "system": "the system prompt of rows without one",
    "weight_decay": "how weights are pulled to zero",
    "lora_dropout": "how adapters are regularised",
    "max_grad_norm": "from where on gradients are clipped",
    "adam_beta1": "how long the optimizer remembers gradients",
    "adam_beta2": "how long the optimizer remembers the size of gradients",
    "adam_epsilon": "how the optimizer steps where gradients are small",
    "preference_loss": "another loss over pairs",
    "preference_beta": "how far the model may leave the reference",
    "preference_gamma": "how far apart chosen and rejected answers should be",
    "reference_model": "a frozen copy to compare with, which takes memory",
    "teacher": "whose predictions are learnt",
    "distillation_alpha": "how much of the loss is cross entropy",
    "distillation_temperature": "how flat the predictions are that are compared",
    "num_generations": "answers to each prompt, over which advantages are taken",
    "max_completion_length": "how long answers may be",
    "max_prompt_length": "how much of a prompt is kept",
    "kl_beta": "how far the model may leave the reference",
    "rewards": "what answers are rewarded for",
    "reward_weights": "how rewards are added up",
    "plugins": "where rewards come from",
    "iterations": "how often each batch of answers is learnt from",
    "steps_per_generation": "how old answers are when they are learnt from",
    "loss_type": "how the loss is averaged over tokens and answers",
    "temperature": "how answers are drawn",
    "top_p": "how answers are drawn",
    "top_k": "how answers are drawn",
    "repetition_penalty": "how answers are drawn",
    "seed": "the order of samples, and how adapters start",
    "data.eval": "rows held back are not learnt from",
}
_COST = {
    "hardware": "what it runs on",
    "gradient_checkpointing": "without it every layer keeps its activations; with it they are computed again",
    "micro_batch": "sequences at once on a GPU: activations and logits grow with it",
    "gradient_accumulation": "micro-batches in one optimizer step",
    "sharding": "what of weights, gradients and optimizer states each GPU holds, and what is sent between them",
    "offload_optimizer": "optimizer states in host memory: less on the GPU, slower steps",
    "offload_parameters": "weights in host memory: less on the GPU, slower steps",
    "offload_activations": "what checkpointing keeps waits in host memory",
    "attention": "the attention kernel: eager keeps whole score matrices, and is slow",
    "loss": "plain holds the logits of all tokens in 32 bit; fused never holds them whole",
    "mlp": "tiled takes the tokens of the wide layers piece by piece, and holds less of them at once",
    "sequence_parallel": "GPUs that share each sequence",
    "rollout_mode": "where answers are generated",
    "rollout_gpus": "GPUs that generate",
    "rollout_share": "what of a GPU generation takes",
    "dataloader_workers": "processes that prepare batches: with few, GPUs may wait for pictures and tokens",
    "preprocessing_workers": "processes that tokenise before training starts",
    "image_share": "how many samples are counted with pictures",
    "pictures": "how many pictures are counted in a sample",
    "reduce_bucket_elements": "how much gradient is sent at once, and held for it",
    "allgather_bucket_elements": "how much weight is sent at once, and held for it",
    "prefetch_bucket_elements": "how much weight is fetched ahead, and held for it",
    "persistence_threshold_elements": "weights below this size stay on every GPU",
    "sub_group_elements": "how much of the optimizer steps at once",
    "max_live_elements": "how much gathered weight stays before it is freed",
    "overlap_comm": "sending beside computing takes a second bucket",
    "pin_memory": "pinned host memory is faster, and counts against what a node may pin",
    "cpu_threads": "threads of the optimizer on the CPU",
    "allocator": "how freed blocks are used again",
    "eval_micro_batch": "sequences at once while it evaluates",
    "eval_every": "how often it stops to evaluate",
    "save_every": "how often it stops to save",
}
_RUN = {
    "keep": "how many checkpoints stay on disk",
    "existing": "what becomes of checkpoints that are there",
    "output_dir": "where checkpoints go",
    "log_every": "how often it logs",
    "report_to": "who hears of it",
    "samples": "answers written down while it trains",
    "timeout_seconds": "how long GPUs wait for each other, the preparing of data included",
    "hub": "where models and data come from",
    "model_type": "the framework's own name of the model's kind",
}
EFFECTS: Mapping[str, Effect] = {
    **{name: Effect("result", why) for name, why in _RESULT.items()},
    **{name: Effect("cost", why) for name, why in _COST.items()},
    **{name: Effect("run", why) for name, why in _RUN.items()},
}
ORDER: Mapping[str, int] = {name: number for number, name in enumerate(EFFECTS)}


def effect(field: str) -> Effect:
    """What a field changes; of a part of a field, what the field does."""
    head = field.partition(".")[0]
    return EFFECTS.get(field) or EFFECTS.get(head) or Effect("result", "")


def turn(field: str) -> int:
    """How soon a field is told: smaller is sooner."""
    return ORDER.get(field, ORDER.get(field.partition(".")[0], len(ORDER)))
