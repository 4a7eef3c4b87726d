"""TRL's keys that change what is held in memory, and that the memory model does not count.

`use_liger_kernel` and `liger_kernel_config` fuse layers, not the loss, and will be removed in TRL 2.
"""

_UNCOUNTED = """
    activation_checkpointing activation_checkpointing_kwargs auto_find_batch_size average_tokens_across_devices
    bf16_full_eval cache_implementation cast_lm_head_to_fp32 ddp_bucket_cap_mb ddp_find_unused_parameters deepspeed
    ds3_gather_for_generation env eval_accumulation_steps eval_on_start eval_packing fp16_full_eval fsdp fsdp_config
    generation_batch_size generation_kwargs gradient_checkpointing_kwargs include_for_metrics label_smoothing_factor
    liger_kernel_config lora_target_parameters model_init_kwargs neftune_noise_alpha num_generations_eval optim_args
    optim_target_modules pad_to_multiple_of padding_free parallelism_config precompute_ref_batch_size
    precompute_ref_log_probs prediction_loss_only router_aux_loss_coef sync_ref_model tf32 torch_compile
    torch_compile_backend torch_compile_mode torch_empty_cache_steps transformers_continuous_batching_config use_cache
    use_cpu use_liger_kernel use_transformers_continuous_batching use_transformers_paged use_weighting vllm_model_impl
"""
UNMODELLED = frozenset(_UNCOUNTED.split())
