"""What an improvement was, told from its stored rows: as data, as Markdown, and as a page that draws it."""
