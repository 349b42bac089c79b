"""Photographs, their whitening and random patches; synthetic images with the same spectrum."""
