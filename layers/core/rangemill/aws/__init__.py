"""The gateways to AWS: the only modules that import botocore. A client is passed in, never made at import."""
