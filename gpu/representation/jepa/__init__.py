"""Joint embedding prediction with grouped latent variables."""
