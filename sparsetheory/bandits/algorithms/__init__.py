"""Algorithms that find a good action, as programs and as dialogues with a live experiment."""
