"""What runs inside the sandbox: read as text here, never imported, and on its own there."""
