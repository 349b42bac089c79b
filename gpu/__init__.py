"""Sparsity mechanisms in torch; needs the ``gpu`` extra, runs on any device."""
