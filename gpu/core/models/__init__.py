"""Reference models: small networks with a stated initialisation, and pretrained ones that ship in wheels."""
