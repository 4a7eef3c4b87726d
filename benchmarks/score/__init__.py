"""Scores the memory and the speed model against published measurements (benchmarks/truth)."""
