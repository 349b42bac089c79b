"""Strategies that are paid for every play: what counts is the reward they miss on the way."""
