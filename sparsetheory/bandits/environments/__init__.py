"""Problems, hard instances and simulations of live experiments."""
