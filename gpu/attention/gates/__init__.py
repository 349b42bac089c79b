"""A small learned gate that says which blocks of keys matter."""
