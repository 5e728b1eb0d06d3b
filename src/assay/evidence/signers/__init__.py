"""Ways to sign a statement, one file each, behind one interface. Only a signer holds or reaches a secret."""
