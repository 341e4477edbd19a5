"""What each staff operation asks and shows, a module for each; `page` is the way they all go."""
