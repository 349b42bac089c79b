"""State space models with transitions of low rank."""
