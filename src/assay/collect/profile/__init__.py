"""What is in a table, as numbers that can be added up: one pass over any amount of rows gives a mergeable profile.

Profiles of parts merge to exactly the profile of the whole, whatever the parts and whoever computed them. A profile
holds no rows, and no rare values unless they were asked for; it must never need the data again once it is made.
"""
