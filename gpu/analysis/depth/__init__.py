"""What the layers of a deep residual network are used for."""
