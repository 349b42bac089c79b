"""Problems to learn on: linear rewards up to an error, and instances on which nobody can win."""
