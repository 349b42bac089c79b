"""Claims about grouped latent variables."""
