"""Routes for people: four tabs, and problems as pages."""
