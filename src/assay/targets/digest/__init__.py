"""The digest engine: how bytes become the columns of a manifest. It knows files and nothing of evidence."""
