"""Measures what runs take: training steps on a GPU (sweep), mfc's own commands (latency).

run_*, and what they import (meter, models, grid), run in a framework's own environment, which need not hold mfc: they
import nothing of it.
"""
