"""The mirror: production's databases, media and release, masked, on a host that is not production."""
