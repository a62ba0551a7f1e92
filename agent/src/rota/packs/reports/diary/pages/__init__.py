"""The pages of reports, by what they are about."""
