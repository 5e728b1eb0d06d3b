"""Whom a verifier believes. Each anchor proves a bundle against one expected signer and never reads its statement."""
