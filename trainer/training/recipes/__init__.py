"""The recipes that come with doivec, a TOML file each."""
