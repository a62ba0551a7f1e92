"""The read API: all that pages show, as JSON, with an OpenAPI document."""
