"""The git target: a repository at a commit, read through git's own objects. Never the work tree, never a filter."""
