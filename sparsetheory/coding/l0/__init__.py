"""Codes with a price per atom: local searches, kinds of minimisers, and all minimisers of small problems."""
