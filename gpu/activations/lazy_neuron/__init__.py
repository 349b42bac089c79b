"""The k largest activations, why training shrinks activations, and how few are not zero."""
