"""Claims about skinning weights and finite scalar quantisation."""
