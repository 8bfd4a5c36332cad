"""Archives: zip and tar objects whose files are a job's objects.

`zip_directory` and `tar_headers` read an archive's own list of what it holds; `expand` makes pinned objects of it, at
Plan; `deflated` and `tar_stream` read, in a worker, what has no bytes of its own in S3: deflated members of a zip, and
the members of a compressed tar.
"""
