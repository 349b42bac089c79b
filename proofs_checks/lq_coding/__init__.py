"""Claims about sparse coding beyond l1: penalties, coders, dictionaries."""
