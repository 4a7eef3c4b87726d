"""The question turned round: which cards, and how many, a model needs; and which models some cards can train."""
