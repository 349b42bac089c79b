"""Real data that ship in wheels, as arrays; nothing is downloaded."""
