"""Claims about neurons within an error, within a rise of perplexity, and laws of growth."""
