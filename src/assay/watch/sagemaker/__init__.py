"""Files of Amazon SageMaker Model Monitor, read and written, and its container contract.

Names, defaults and file names are those of its developer guide; what is ours and has no place there is left out and
said, never put under a name that means something else to its readers.
"""
