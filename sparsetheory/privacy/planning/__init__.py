"""What can be learnt before a budget is spent: predicted errors and lower bounds."""
