"""Axolotl's keys that change what is held in memory, and that the memory model does not count.

Among them levers of its own that mfc leaves alone: layers' weights that wait on the host (`layer_offloading`), losses
in chunks of whole logits (`chunked_cross_entropy`), kernels for adapters.
"""

_UNCOUNTED = """
    accelerator_config added_tokens_overrides auto_find_batch_size base_model_config batch_flattening
    chunked_cross_entropy chunked_cross_entropy_num_chunks cls_model_config context_parallel_size curriculum_sampling
    ddp_bucket_cap_mb deepcompile device_map do_bench_eval do_causal_lm_eval dp_replicate_size dp_shard_size
    dpo_padding_free dpo_use_liger_kernel ebft embedding_lr embedding_lr_scale embeddings_skip_upcast eval_sequence_len
    experimental_skip_move_to_device experts_implementation flash_attn_cross_entropy flash_attn_d512
    flash_attn_fuse_mlp flash_optimum float32 fp32_norm_classes fp32_norms fp8 fp8_config
    fp8_enable_fsdp_float8_all_gather freeze_mm_modules fused_attn_kernel generate_samples gpu_memory_limit gptq
    jagged_restart_steps large_head_attention layer_offloading liger_cross_entropy liger_kernel_impl liger_layer_norm
    liger_rms_norm_gated lisa_layers_attribute lisa_n_layers lisa_step_interval llama4_linearized_experts
    lora_on_cpu lora_rank_pattern
    lora_target_parameters loraplus_lr_ratio low_cpu_mem_usage lr_groups max_memory max_prompt_len model_config
    model_kwargs model_quantization_config model_quantization_config_kwargs model_type multipack_real_batches
    neftune_noise_alpha num_labels optim_args optim_target_modules overrides_of_model_config overrides_of_model_kwargs
    pad_to_multiple_of peft peft_autocast_adapter_dtype peft_layer_replication peft_layers_to_transform
    peft_trainable_token_indices ple_cpu_offload precompute_ref_log_probs pretraining_dataset process_reward_model
    qat qlora_sharded_model_loading quantization quantize_moe_experts reinit_weights relora relora_cpu_offload
    resize_token_embeddings_to_32x ring_attn_func scaling_softmax sdpa_varlen selective_checkpointing
    sequence_parallel_degree shrink_embeddings special_tokens streaming tensor_parallel_size tokens
    torch_compile torch_compile_backend torch_compile_mode
    torch_compile_options torch_empty_cache_steps trainer_cls type_of_model unfrozen_parameters use_eaft
    use_kernels use_onebitllms use_pose vllm
"""
UNMODELLED = frozenset(_UNCOUNTED.split())
