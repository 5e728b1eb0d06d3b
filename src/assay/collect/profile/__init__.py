"""What is in a table, as numbers that can be added up: one pass over any amount of rows gives a mergeable profile.

Profiles of parts merge to exactly the profile of the whole, whatever the parts and whoever computed them. A profile
holds no rows, and no rare values unless they were asked for; it must never need the data again once it is made.
"""

import os

# Frames come and go by the hundred, each of some ten MiB. Polars' allocator gives such memory back to the system after
# half a second and asks for it again, page by page: a fifth of all the time. It reads this when polars is loaded.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:10000,muzzy_decay_ms:-1")
