"""The core without a cloud: gateways in memory and over local files, and a loop that plays the state machine."""
