"""Model files: would loading them run code that nobody agreed to?"""
