"""Projects, builds, deployments, variables and manifests."""
