"""Forward-backward splitting for many codes at once: the reference algorithm."""
