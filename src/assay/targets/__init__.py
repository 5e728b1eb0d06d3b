"""The floor that names things: a target becomes a manifest of resources with digests. It knows nothing of evidence."""
