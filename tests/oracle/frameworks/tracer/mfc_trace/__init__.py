"""What a training process on the CPU holds in tensors, moment by moment, counted as CUDA's allocator would.

`ledger` counts storages, `moments` says what the process does now, `as_on_cuda` makes the CPU keep what CUDA keeps,
`session` puts them together around one training, and `hooks` finds where trainings begin, step and end.
"""
