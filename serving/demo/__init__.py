"""A page on which one draws a digit and sees what the served models answer."""
