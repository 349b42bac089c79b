"""Runs claims and studies at scale and presents what came out.

This package imports nothing by itself, so that claims can refer to :mod:`sparsetheory.experiments.study`.
"""
