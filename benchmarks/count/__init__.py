"""Counts bytes where they come from: frameworks' own classes, real model code, the rules of torch's allocator."""
