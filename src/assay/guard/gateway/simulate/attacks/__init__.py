"""Attacks on a model that is asked: extraction, membership inference, inversion. Each tells how far it came."""
