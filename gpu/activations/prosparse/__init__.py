"""ProSparse: ReLU in place of smooth activations, a penalty that grows in stages, and a threshold."""
