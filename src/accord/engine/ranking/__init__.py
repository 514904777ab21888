"""Reward models that learn from rankings: training, normalisation, ensembles."""
