"""Values of policies from the log of another one."""
