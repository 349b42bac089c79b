"""Codes with a cost per atom: local searches, kinds of minimisers, and all minimisers of small problems."""
