"""Claims about probes, prompts and label maps of sparse networks."""
