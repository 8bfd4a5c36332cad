"""Rangemill: splitting, proof and the life of a job.

The core of this package is pure: only `rangemill.aws` imports botocore, and engines are imported where they are used.
"""
