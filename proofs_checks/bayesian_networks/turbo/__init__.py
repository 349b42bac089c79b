"""Claims about network Turbo-VBI."""
