"""Ways to sign a statement, one file each, behind one interface. A signer holds or reaches a secret; nothing else does."""
