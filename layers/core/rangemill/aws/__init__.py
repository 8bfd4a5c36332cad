"""The gateways to AWS: the only modules that import boto3. A client is passed in, never made at import."""
