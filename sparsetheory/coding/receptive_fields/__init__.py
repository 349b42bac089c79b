"""Atoms seen as receptive fields: Gabor fits, kinds, and tuning to orientation."""
