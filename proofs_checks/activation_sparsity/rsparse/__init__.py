"""Claims about layers whose large inputs go through the weight and small ones through a low rank."""
