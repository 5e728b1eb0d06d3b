"""Evidence: statements, envelopes, bundles, signers, trust, stores. Verification is sans-IO: bytes in, answer out."""
