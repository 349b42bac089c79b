"""Continual learning under masks: one mask a task, and no task forgets."""
