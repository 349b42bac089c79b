"""Claims about sparse convolutions and the arrangement of channels for them."""
