"""From folders and archives to labelled, decoded images with classes and splits."""
