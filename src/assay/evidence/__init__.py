"""Evidence: statements, envelopes, bundles, signers, trust and stores. Verification is sans-IO: bytes in, answer out."""
