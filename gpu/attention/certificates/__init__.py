"""How much mass a choice of keys drops, exactly or at most, and what that does to the output."""
