"""Claims about attention of films: patterns of heads, and one option for each head under a budget."""
