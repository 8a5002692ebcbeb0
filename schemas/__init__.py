"""The contracts that every part of doivec shares: pydantic and the standard library, no I/O."""
