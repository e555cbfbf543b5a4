"""The web page: four tabs, and problems as pages."""
