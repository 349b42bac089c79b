"""The problem that sparse codes solve: signals, atoms, objective, and evidence about given codes."""
