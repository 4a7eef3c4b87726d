"""What mfc says, held against what is so. All commands run from the repository's root: `python -m benchmarks.…`."""
