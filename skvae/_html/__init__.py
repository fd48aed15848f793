"""Reports as pages of HTML that need no other file."""
