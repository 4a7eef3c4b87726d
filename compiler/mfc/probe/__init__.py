"""A probe: the very same run for a few steps, on rows as long as they may be, which tells what it really takes.

`plan` has the run's plan with what a probe does otherwise, `rows` the rows that it trains on, `files` all that is
written beside the target's own files. `runner` and `meter` are what is written: they run where mfc is not installed.
"""
