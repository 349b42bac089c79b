"""Claims about SparCL: paths of density, gates of gradients, forgotten examples."""
