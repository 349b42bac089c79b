"""Claims about images, alignment and fusion."""
