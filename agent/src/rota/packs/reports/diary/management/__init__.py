"""What the reports add to `rota-diary`."""
