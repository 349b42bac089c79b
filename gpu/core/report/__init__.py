"""Reports of sparse models: what is kept and where, what it costs, and what it must be compared with."""
