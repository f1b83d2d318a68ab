"""A result as a picture: colours of classes, regions laid over the picture, and where names go."""
