"""Claims about layers of an encoder that compute foreground tokens only."""
