"""Claims about masks that are chosen anew in every forward pass: SR-STE, and masks that fade in."""
