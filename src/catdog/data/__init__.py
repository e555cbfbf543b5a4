"""Images on their way to features: folders and archives read, images decoded, classes and splits found."""
