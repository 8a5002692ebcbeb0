"""What DOIs are called: the local index, snapshots, the registries' APIs, and the resolver."""
