"""Dictionary learning with any penalty of the package."""
