"""Secrets: which there are, how each is made, and what is wrong with those at hand."""

from provision.vault import vault_password_file as vault_password_file
