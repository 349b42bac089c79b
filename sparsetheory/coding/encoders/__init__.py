"""One entry to all coders of the package."""
