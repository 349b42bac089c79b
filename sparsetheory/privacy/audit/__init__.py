"""Tests of privacy that can be aimed at any randomizer."""
