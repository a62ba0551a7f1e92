"""A believable estate made up for development, demonstrations and measurements: four hosts and what they do."""
