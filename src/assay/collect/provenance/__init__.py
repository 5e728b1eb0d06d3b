"""Provenance: where, by what and in which context evidence was made. What is stated here is claimed by the signer."""
