"""Read the members of zips, and sort them into parts and classes."""
