"""LocalStack without Docker: an executor of Lambda functions as processes, and patches towards AWS."""
