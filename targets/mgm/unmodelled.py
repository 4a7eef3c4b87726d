"""Flags of MGM's that change what is held on the GPU and that the memory model does not count."""

UNMODELLED = frozenset(
    {
        "auto_find_batch_size",
        "freeze_backbone",
        "freeze_mm_mlp_adapter",
        "lora_bias",
        "mm_vision_select_feature",
        "neftune_noise_alpha",
        "optimize_vision_tower",
        "optimize_vision_tower_aux",
        "torch_compile",
        "fsdp",
    }
)
