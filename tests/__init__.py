"""A package, so that it comes before the `tests` that bitsandbytes 0.45 installs: drivers run in its environment."""
