"""Claims about Turbo-VBI: exact properties of its messages, factors and bound, and what it recovers."""
