"""Incidents: signals of one cause become one thing that a person looks at once."""
