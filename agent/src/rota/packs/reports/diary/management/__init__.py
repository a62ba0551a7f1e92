"""Commands of `rota-diary` for reports."""
