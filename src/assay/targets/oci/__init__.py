"""Artifacts in the OCI format: an image layout on disk, a tar of one, or a repository in a registry."""
