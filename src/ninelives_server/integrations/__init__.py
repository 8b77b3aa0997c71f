"""The kit for integrations: the contract, the registry, guarded outgoing HTTP, the validator."""
