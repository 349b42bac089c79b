"""Which tokens of an image take part: a learned selector and layers that update the selected ones."""
