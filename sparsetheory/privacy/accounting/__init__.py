"""What privacy costs: composition, shuffling, sensitivities, and a ledger of what was spent."""
