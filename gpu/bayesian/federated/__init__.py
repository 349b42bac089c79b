"""Turbo-VBI with data that stay where they are: clients send messages, a server merges them."""
