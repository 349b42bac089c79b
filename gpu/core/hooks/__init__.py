"""What acts around every step of a torch optimiser, by the hooks that torch offers: freezing, penalties, topology."""
