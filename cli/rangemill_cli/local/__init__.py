"""The local cloud: LocalStack in host mode, deployed to with the SAM CLI."""
