"""Claims about federated Turbo-VBI."""
